"""The points of all objects as a PointCloud2: x, y, z, rgb and the object's id, object after object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.encodings import to_bytes
from sam_ros.localization.frame import Located
from sam_ros.localization.messages import header_of

__all__ = ["cloud_message"]

_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("id", "<u4")])
_FIELDS = [
    PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1),
    PointField(name="y", offset=4, datatype=PointField.FLOAT32, count=1),
    PointField(name="z", offset=8, datatype=PointField.FLOAT32, count=1),
    PointField(name="rgb", offset=12, datatype=PointField.UINT32, count=1),
    PointField(name="id", offset=16, datatype=PointField.UINT32, count=1),
]


def cloud_message(located: Located, image: NDArray[np.uint8] | None) -> PointCloud2:
    """Return the trusted points of all objects in the frame of the results.

    Args:
        located: What was found.
        image: uint8 RGB (H, W, 3) of the same stamp; without it, or where its size is another, points have their
            object's colour.
    """
    transform = located.views.to_target.astype(np.float32)
    size = (located.views.camera.height, located.views.camera.width)
    if image is not None and image.shape[:2] != size:
        image = None
    parts = []
    for found in located.objects:
        if found.finding is None or found.location is None:
            continue
        cleaned = found.finding.depth
        part = np.empty(len(cleaned.depths), _POINT)
        moved = found.finding.points @ transform[:3, :3].T + transform[:3, 3]
        part["x"], part["y"], part["z"] = moved.T
        if image is None:
            blue, green, red = colour_of(found.item.id)
            part["rgb"] = red << 16 | green << 8 | blue
        else:
            colours = image[cleaned.rows, cleaned.columns].astype(np.uint32)
            part["rgb"] = colours[:, 0] << 16 | colours[:, 1] << 8 | colours[:, 2]
        part["id"] = found.item.id
        parts.append(part)
    points = np.concatenate(parts) if parts else np.empty(0, _POINT)
    return PointCloud2(
        header=header_of(located),
        height=1,
        width=len(points),
        fields=_FIELDS,
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(points),
        data=to_bytes(points.view(np.uint8)),
        is_dense=True,
    )
