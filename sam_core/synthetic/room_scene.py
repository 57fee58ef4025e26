"""A room with solids on a floor and a table, seen by a depth camera: image, depth, and the truth in three dimensions.

Everything is periodic, so the scene loops seamlessly. One box moves to and fro at 0.5 m/s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core.synthetic.solids import Pose, Solid, corners, yaw_matrix

__all__ = ["SPEED", "Body", "RoomFrame", "RoomScene", "camera_at", "camera_rotation", "pinhole_matrix", "region"]

SPEED = 0.5  # m/s, of what moves
_PERIOD_S = 8.0
_WALL = 6.0  # m from the camera
_LIGHT = np.array([-0.5, 0.35, 0.8]) / np.linalg.norm([-0.5, 0.35, 0.8])
_CELL = 0.06  # m, of the pattern on solids


@dataclass(frozen=True)
class Body:
    """A solid of the scene.

    Attributes:
        name: What it is called; empty for furniture, which is background.
        solid: Its shape and size.
        pose: Where it stands at the beginning.
        colour: RGB, 0 to 255.
        velocity: m/s in the world; it turns back after half a period.
    """

    name: str
    solid: Solid
    pose: Pose
    colour: tuple[float, float, float]
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, phase: float) -> Pose:
        """Return where it is at `phase` (0 to 1) of the period."""
        way = _PERIOD_S * min(phase, 1 - phase)
        x, y, z = (start + way * speed for start, speed in zip(self.pose.centre, self.velocity, strict=True))
        return Pose((x, y, z), self.pose.yaw)


@dataclass(frozen=True)
class RoomFrame:
    """One picture with its truth.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        labels: uint8 (H, W), 0 background, k object k.
        depth: float32 (H, W), exact depth along the optical axis in m.
        poses: Of the objects 1, 2, ... in the world.
        velocities: Of the objects, m/s in the world.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    poses: tuple[Pose, ...]
    velocities: tuple[tuple[float, float, float], ...]


def _floor_body(
    name: str, shape: str, size: tuple[float, float, float], at: tuple[float, float], yaw: float,
    colour: tuple[float, float, float], *, base: float = 0.0, velocity: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Body:  # fmt: skip
    """Return a body that stands at (x, y), its lowest point `base` m above the floor."""
    return Body(name, Solid(shape, size), Pose((*at, base + size[2] / 2), yaw), colour, velocity)


BODIES = (
    _floor_body("", "box", (0.36, 0.62, 0.35), (0.86, 0.05), 0.0, (126.0, 92.0, 66.0)),  # the table
    _floor_body("red mug", "cylinder", (0.09, 0.09, 0.11), (0.72, 0.16), 0.0, (206.0, 44.0, 40.0), base=0.35),
    _floor_body("green box", "box", (0.16, 0.10, 0.07), (0.80, -0.06), 0.5, (60.0, 160.0, 70.0), base=0.35),
    _floor_body("yellow ball", "sphere", (0.22, 0.22, 0.22), (1.70, -0.68), 0.0, (238.0, 196.0, 40.0)),
    _floor_body("blue crate", "box", (0.40, 0.30, 0.28), (2.00, 1.05), 0.75, (52.0, 92.0, 200.0)),
    _floor_body("white bin", "cylinder", (0.30, 0.30, 0.45), (3.10, -1.00), 0.0, (226.0, 226.0, 218.0)),
    _floor_body(
        "purple cart", "box", (0.45, 0.35, 0.40), (3.80, 1.40), 0.3, (150.0, 70.0, 180.0), velocity=(0.0, -SPEED, 0.0)
    ),
)


class RoomScene:
    """A deterministic scene with random access to its frames.

    The world's z axis points up, the camera looks along x. The camera is an ideal pinhole with square pixels; its axis
    goes through the middle of the image (pixel centres are whole numbers).

    Args:
        width: px.
        height: px.
        fps: Frames a second; one loop lasts 8 s.
        bodies: What stands in the room; objects with a name get the labels 1, 2, ... in this order.
        camera_height: m above the floor.
        camera_pitch: rad that the camera looks down.
        horizontal_fov: rad.

    Attributes:
        length: Frames in one loop.
        objects: The bodies with a name.
        object_names: Their names.
        sizes: Of the objects' boxes along their own axes, m.
        intrinsics: (3, 3) the camera's matrix K.
        camera_pose: (4, 4) from the camera's optical frame to the world.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 480,
        fps: float = 30.0,
        *,
        bodies: Sequence[Body] = BODIES,
        camera_height: float = 0.75,
        camera_pitch: float = 0.35,
        horizontal_fov: float = 1.2,
    ) -> None:
        if width < 32 or height < 32 or fps <= 0:
            raise ValueError(f"a scene needs at least 32x32 pixels and fps > 0, got {width}x{height} at {fps} fps")
        self.width, self.height, self.fps = width, height, fps
        self.length = round(_PERIOD_S * fps)
        self._bodies = tuple(bodies)
        self.objects = named = tuple(body for body in self._bodies if body.name)
        self.object_names = tuple(body.name for body in named)
        self.sizes = tuple(body.solid.size for body in named)
        self.intrinsics = pinhole_matrix(width, height, horizontal_fov)
        self.camera_pose = camera_at(camera_height, camera_pitch)
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        centred = np.stack((xs - self.intrinsics[0, 2], ys - self.intrinsics[1, 2]), axis=-1) / self.intrinsics[0, 0]
        rays = np.concatenate((centred, np.ones((height, width, 1))), axis=-1) @ self.camera_pose[:3, :3].T
        self._rays = rays.astype(np.float32)  # a ray's unit is 1 m of depth
        self._origin = self.camera_pose[:3, 3].astype(np.float32)
        self._empty = self._render_room()

    def render(self, index: int) -> RoomFrame:
        """Return frame `index` (any integer, taken modulo `length`)."""
        phase = (index % self.length) / self.length
        image, depth = self._empty[0].copy(), self._empty[1].copy()
        labels = np.zeros((self.height, self.width), np.uint8)
        poses, velocities = [], []
        for body in self._bodies:
            pose = body.at(phase)
            if body.name:
                poses.append(pose)
                turn = 1.0 if phase < 0.5 else -1.0
                x, y, z = (turn * speed for speed in body.velocity)
                velocities.append((x, y, z))
            self._draw(body, pose, len(poses) if body.name else 0, image, labels, depth)
        return RoomFrame(image, labels, depth, tuple(poses), tuple(velocities))

    def _render_room(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return the floor and the wall, without anything in the room."""
        down = -np.minimum(self._rays[..., 2], -1e-6)
        floor = self._origin[2] / down
        wall = (_WALL - self._origin[0]) / np.maximum(self._rays[..., 0], 1e-6)
        depth = np.minimum(floor, wall).astype(np.float32)
        places = self._origin + self._rays * depth[..., None]
        is_floor = floor <= wall
        across, along = np.where(is_floor, places[..., 0], places[..., 2]), places[..., 1]
        tiles = np.sign(np.sin(across * 7) * np.sin(along * 7))
        grain = np.sin(across * 61 + 3 * np.sin(along * 23)) + np.sin(along * 47 + across * 13)
        shade = np.where(is_floor, 0.8 + 0.06 * tiles + 0.02 * grain, 0.9 + 0.01 * grain)
        colour = np.where(is_floor[..., None], (164.0, 150.0, 132.0), (186.0, 192.0, 196.0))
        return (colour * shade[..., None]).clip(0, 255).astype(np.uint8), depth

    def _draw(
        self,
        body: Body,
        pose: Pose,
        label: int,
        image: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        depth: NDArray[np.float32],
    ) -> None:
        """Draw a body over what is farther away."""
        part = region(body.solid.size, pose, self.camera_pose, self.intrinsics, (self.width, self.height))
        if part is None:
            return
        turn = yaw_matrix(pose.yaw).astype(np.float32)
        origin = (self._origin - np.asarray(pose.centre, np.float32)) @ turn
        rays = self._rays[part].reshape(-1, 3) @ turn
        distance, normal = body.solid.hit(origin, rays)
        seen = np.flatnonzero(distance < depth[part].reshape(-1))
        if not len(seen):
            return
        places = origin + rays[seen] * distance[seen, None]
        colour = _shade(places, normal[seen] @ turn.T, body.colour)
        rows, columns = np.divmod(seen, part[1].stop - part[1].start)
        rows, columns = rows + part[0].start, columns + part[1].start
        depth[rows, columns], labels[rows, columns], image[rows, columns] = distance[seen], label, colour


def region(
    size: tuple[float, float, float], pose: Pose, camera_pose: NDArray[np.float64], intrinsics: NDArray[np.float64],
    image_size: tuple[int, int],
) -> tuple[slice, slice] | None:  # fmt: skip
    """Return the rows and columns of an image (width, height) that a body's box covers; None where out of view."""
    points = (corners(size, pose) - camera_pose[:3, 3]) @ camera_pose[:3, :3]
    if points[:, 2].min() <= 0.02:
        return None
    pixels = points @ intrinsics.T
    low = np.floor(pixels[:, :2] / pixels[:, 2:]).min(axis=0).astype(int)
    high = np.ceil(pixels[:, :2] / pixels[:, 2:]).max(axis=0).astype(int) + 1
    (left, top), (right, bottom) = np.maximum(low, 0), np.minimum(high, image_size)
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def pinhole_matrix(width: int, height: int, horizontal_fov: float) -> NDArray[np.float64]:
    """Return the matrix K (3, 3) of an ideal camera: square pixels, the axis through the image's middle."""
    focal = width / (2 * math.tan(horizontal_fov / 2))
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def camera_at(height: float, pitch: float) -> NDArray[np.float64]:
    """Return the pose (4, 4) of a camera `height` m above the world's origin that looks along x, `pitch` rad down."""
    pose = np.eye(4)
    pose[:3, :3], pose[2, 3] = camera_rotation(pitch), height
    return pose


def camera_rotation(pitch: float) -> NDArray[np.float64]:
    """Return the rotation (3, 3) from a camera's optical frame to the world; it looks along x, `pitch` rad down."""
    cosine, sine = math.cos(pitch), math.sin(pitch)
    return np.array([[0.0, -sine, cosine], [-1.0, 0.0, 0.0], [0.0, -cosine, -sine]])


def _shade(
    places: NDArray[np.float32], normals: NDArray[np.float32], colour: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Return colours (N, 3) of points in a body's frame, with a pattern, lit from above."""
    light = 0.45 + 0.55 * np.clip(normals @ _LIGHT.astype(np.float32), 0, 1)
    pattern = 1.0 + 0.12 * np.sign(np.prod(np.sin(places * np.float32(math.pi / _CELL) + 0.5), axis=1))
    lit = np.asarray(colour, np.float32) * (light * pattern)[:, None]
    return cv2.convertScaleAbs(lit)
