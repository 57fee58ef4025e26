"""Masks of still images as messages."""

from __future__ import annotations

import numpy as np
from sam_msgs.msg import ImageMask
from std_msgs.msg import Header

from sam_core.streaming import CroppedMask
from sam_ros.conversions.encodings import array_to_image

__all__ = ["image_mask_message"]


def image_mask_message(
    mask: CroppedMask,
    header: Header,
    *,
    predicted_iou: float,
    stability: float,
    prompt: int = 0,
    object_id: int = 0,
) -> ImageMask:
    """Return a mask with its scores.

    Args:
        mask: The mask.
        header: Header of its image.
        predicted_iou: As the network predicts it; brought into 0 … 1, which SAM 1 may leave.
        stability: 0 … 1.
        prompt: Number of the prompt that it answers, from 0.
        object_id: The object that it is tracked as; 0 where it is not.
    """
    message = ImageMask(prompt=prompt, object_id=object_id, area=mask.area)
    message.predicted_iou = min(max(predicted_iou, 0.0), 1.0)
    message.stability_score = min(max(stability, 0.0), 1.0)
    x1, y1, x2, y2 = mask.box
    message.box.x_offset, message.box.y_offset = x1, y1
    message.box.width, message.box.height = x2 - x1, y2 - y1
    if mask.pixels.size:
        message.mask = array_to_image(mask.pixels.view(np.uint8) * np.uint8(255), "mono8", header)
    else:
        message.mask.header = header
    return message
