"""Objects as annotations that Foxglove draws over the camera's own image, where `foxglove_msgs` is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from std_msgs.msg import Header

from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.masks import UNLABELLED, Masks
from sam_ros.conversions.outlines import outline_of
from sam_ros.runtime.texts import legible

try:
    from foxglove_msgs.msg import Color, ImageAnnotations, Point2, PointsAnnotation, TextAnnotation
except ImportError:  # optional; apt has it, PyPI does not
    ImageAnnotations = None

__all__ = ["ImageAnnotations", "annotations_message"]

THICKNESS = 2.0  # px of the image
FONT = 14.0  # px
LONGEST_LABEL = 80  # characters


def annotations_message(masks: Masks, header: Header) -> Any:
    """Return the outline and the name of every object that is seen (foxglove_msgs/ImageAnnotations).

    Only fields that all releases of foxglove_msgs have are filled in. Do not call it where `ImageAnnotations` is None.

    Args:
        masks: The frame's result.
        header: The input image's header. Each part carries its stamp, by which Foxglove matches image and annotations.
    """
    message = ImageAnnotations()
    for i, object_id in enumerate(masks.result.object_ids):
        blue, green, red = (part / 255 for part in colour_of(object_id))
        colour = Color(r=red, g=green, b=blue, a=1.0)
        left, top, _, _ = masks.boxes[i]
        outline = outline_of(masks.crops[i].view(np.uint8), left, top)
        for polygon in outline:
            part = PointsAnnotation(timestamp=header.stamp, type=PointsAnnotation.LINE_LOOP)
            part.points = [Point2(x=x, y=y) for x, y in zip(polygon[0::2], polygon[1::2], strict=True)]
            part.outline_color, part.thickness = colour, THICKNESS
            message.points.append(part)
        if outline:
            name = legible(masks.result.labels[i] or UNLABELLED, LONGEST_LABEL)
            text = TextAnnotation(timestamp=header.stamp, position=Point2(x=float(left), y=float(top)))
            text.text, text.font_size = f"{object_id} {name} {masks.scores[i]:.2f}", FONT
            text.text_color, text.background_color = Color(a=1.0), colour
            message.texts.append(text)
    return message
