"""Read the masks of tracked objects, and judge whether they fit the image."""

from __future__ import annotations

import numpy as np
from sam_msgs.msg import TrackedObject

from sam_core import ImageError
from sam_core.streaming.cropped_mask import CroppedMask
from sam_ros.conversions.encodings import mask_image_to_array

__all__ = ["mask_of_object"]


def mask_of_object(item: TrackedObject, image_size: tuple[int, int]) -> CroppedMask | None:
    """Return an object's mask; None where it was published without one, or the mask is empty.

    Args:
        item: The object.
        image_size: (H, W) of the image in px.

    Raises:
        ImageError: The mask does not fit its box, or the box does not lie in the image.
    """
    height, width = image_size
    box = item.box
    if not item.mask.data or not box.width * box.height:
        return None
    x_min, y_min, x_max, y_max = box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height
    if x_max > width or y_max > height:
        raise ImageError(f"the mask ends at ({x_max}, {y_max}) px, but the image of camera_info at ({width}, {height})")
    pixels = mask_image_to_array(item.mask)
    if pixels.shape != (box.height, box.width):
        raise ImageError(f"the mask is {pixels.shape[1]} x {pixels.shape[0]} px, its box {box.width} x {box.height}")
    mask = np.asarray(pixels > 0)
    return CroppedMask((height, width), (x_min, y_min, x_max, y_max), mask) if mask.any() else None
