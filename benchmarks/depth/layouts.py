"""Random rooms: solids of every shape and size on the floor and on a table, none in front of another."""

from __future__ import annotations

import math

import numpy as np

from sam_core.synthetic.room_scene import Body, RoomScene, camera_at, pinhole_matrix, region
from sam_core.synthetic.solids import Pose, Solid

__all__ = ["random_room"]

_SHAPES = ("box", "box", "cylinder", "sphere")
_TRIES = 400
_FOV = 1.2  # rad


def random_room(
    rng: np.random.Generator, width: int, height: int, *, objects: int = 8, apart: bool = True
) -> RoomScene:
    """Return a room with objects at 0.5 to 4 m, none hidden by another.

    Objects are 0.08 to 0.6 m large and at least 0.08 rad wide, the camera is 0.5 to 1.5 m above the floor and looks 10
    to 35 degrees down. Objects stand on the floor, or, where the view needs it, on an invisible support.

    Args:
        rng: Source of the choice.
        width: Of the image, px.
        height: Of the image, px.
        objects: Most of them.
        apart: Whether no object may hide a part of another.
    """
    camera_height, pitch = rng.uniform(0.5, 1.5), math.radians(rng.uniform(10, 35))
    intrinsics, camera = pinhole_matrix(width, height, _FOV), camera_at(camera_height, pitch)
    focal, middle = intrinsics[0, 0], intrinsics[:2, 2]
    bodies: list[Body] = []
    taken: list[tuple[float, float, float, float]] = []
    for _ in range(_TRIES):
        if len(bodies) == objects:
            break
        distance = rng.uniform(0.5, 4.0)
        solid = _solid(rng, distance)
        pixel = rng.uniform((0.1 * width, 0.1 * height), (0.9 * width, 0.9 * height))
        ray = np.array([*((pixel - middle) / focal), 1.0])
        at = camera[:3, 3] + distance * camera[:3, :3] @ (ray / np.linalg.norm(ray))
        if at[2] < solid.size[2] / 2:
            at[2] = solid.size[2] / 2  # on the floor
        body = Body(
            f"object {len(bodies) + 1}",
            solid,
            Pose((float(at[0]), float(at[1]), float(at[2])), float(rng.uniform(-math.pi, math.pi))),
            tuple(rng.uniform(40, 230, 3)),
        )
        part = region(solid.size, body.pose, camera, intrinsics, (width, height))
        if part is None:
            continue
        (rows, columns), margin = part, width // 80
        if min(rows.start, columns.start) < 2 or rows.stop > height - 2 or columns.stop > width - 2:
            continue
        box = (columns.start - margin, rows.start - margin, columns.stop + margin, rows.stop + margin)
        if apart and any(box[0] < x2 and x1 < box[2] and box[1] < y2 and y1 < box[3] for x1, y1, x2, y2 in taken):
            continue
        taken.append(box)
        bodies.append(body)
    return RoomScene(width, height, bodies=bodies, camera_height=camera_height, camera_pitch=pitch, horizontal_fov=_FOV)


def _solid(rng: np.random.Generator, distance: float) -> Solid:
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    least = max(0.08, 0.08 * distance)
    x, y, z = rng.uniform(least, max(0.6 * min(1.0, 0.3 + distance / 4), 1.5 * least), 3)
    if shape == "sphere":
        return Solid(shape, (x, x, x))
    return Solid(shape, (x, x, z)) if shape == "cylinder" else Solid(shape, (x, y, z))
