"""Small pictures of a frame's objects, for the table."""

from __future__ import annotations

import base64

import cv2

from sam_core import ImageError
from sam_ros.console.ros.frames import Frame, SeenObject
from sam_ros.conversions.encodings import RgbImage

__all__ = ["THUMBNAIL", "thumbnails_of"]

THUMBNAIL = 44  # px on the page


def thumbnails_of(frame: Frame) -> dict[int, str]:
    """Return pictures of the objects that are seen as data URIs, by identity; none where the image cannot be read."""
    try:
        rgb = frame.rgb()
    except ImageError:
        return {}
    pictures = {item.id: _thumbnail(item, rgb) for item in frame.objects}
    return {object_id: picture for object_id, picture in pictures.items() if picture}


def _thumbnail(item: SeenObject, rgb: RgbImage) -> str:
    """Return a small picture of an object as a data URI; empty where it is not seen."""
    box = item.message.box
    if not box.width or not box.height:
        return ""
    margin = max(box.width, box.height) // 8
    top, left = max(0, box.y_offset - margin), max(0, box.x_offset - margin)
    part = rgb[top : box.y_offset + box.height + margin, left : box.x_offset + box.width + margin]
    if part.size == 0:
        return ""
    scale = 2 * THUMBNAIL / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    small = cv2.cvtColor(cv2.resize(part, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if good else ""
