"""Boxes against the truth in random rooms, and the velocity of a moving one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.depth.layouts import random_room
from benchmarks.depth.metrics import Errors, compare
from sam_core.localization import Camera, LocalizerSettings, Motion, Motions, locate
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.synthetic.depth_noise import stereo_depth
from sam_core.synthetic.room_scene import SPEED, RoomScene

__all__ = ["MASKS", "camera_of", "errors_of_rooms", "up_of", "velocity_errors"]

Mask = NDArray[np.bool_]


def _change(operation: Callable[..., Any], pixels: int) -> Callable[[Mask], Mask]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return lambda mask: np.asarray(operation(mask.astype(np.uint8), kernel) > 0)


# Masks of a tracker are not exact: too large, they take in what is behind; too small, they miss the edge.
MASKS: dict[str, Callable[[Mask], Mask]] = {
    "exact": lambda mask: mask,
    "2 px too large": _change(cv2.dilate, 2),
    "2 px too small": _change(cv2.erode, 2),
}


def camera_of(scene: RoomScene) -> Camera:
    """Return the camera of a scene."""
    k = scene.intrinsics
    return Camera(scene.width, scene.height, (k[0, 0], k[1, 1]), (k[0, 2], k[1, 2]))


def up_of(scene: RoomScene) -> NDArray[np.float64]:
    """Return the direction (3,) that points up in the camera's frame."""
    up: NDArray[np.float64] = scene.camera_pose[2, :3]
    return up


def errors_of_rooms(rooms: int, seed: int, settings: LocalizerSettings) -> dict[str, tuple[list[Errors], int]]:
    """Locate all objects of random rooms with noise.

    Returns:
        For each kind of mask the errors, and the number of objects without a box.
    """
    found: dict[str, tuple[list[Errors], int]] = {name: ([], 0) for name in MASKS}
    rng = np.random.default_rng(seed)
    for _ in range(rooms):
        scene = random_room(rng, 640, 480)
        frame = scene.render(0)
        depth = stereo_depth(frame.depth, scene.intrinsics[0, 0], rng)
        camera, up = camera_of(scene), up_of(scene)
        for name, change in MASKS.items():
            errors, missed = found[name]
            for number, (body, pose) in enumerate(zip(scene.objects, frame.poses, strict=True), start=1):
                mask = CroppedMask.of(change(frame.labels == number))
                finding = locate(mask, depth, camera, settings, up) if mask.area else None
                if finding is None or finding.location is None:
                    missed += 1
                    continue
                location = finding.location.moved(scene.camera_pose)
                errors.append(compare(location, body.solid, pose, scene.camera_pose[:3, 3]))
            found[name] = errors, missed
    return found


def velocity_errors(rate: float, seconds: float, seeds: int) -> Iterator[float]:
    """Yield the error of the cart's velocity after `seconds`, m/s, for several noises; it moves at 0.5 m/s."""
    scene = RoomScene(fps=rate)
    number = scene.object_names.index("purple cart") + 1
    camera, up = camera_of(scene), up_of(scene)
    frames = [scene.render(index) for index in range(round(seconds * rate) + 1)]
    for seed in range(seeds):
        rng, motion = np.random.default_rng(seed), Motion(Motions.acceleration, trail=10)
        for index, frame in enumerate(frames):
            depth = stereo_depth(frame.depth, scene.intrinsics[0, 0], rng)
            finding = locate(CroppedMask.of(frame.labels == number), depth, camera, LocalizerSettings(), up)
            assert finding.location is not None
            motion.update(round(index * 1e9 / rate), finding.location.moved(scene.camera_pose))
        yield math.dist(motion.velocity, (0.0, -SPEED, 0.0))
