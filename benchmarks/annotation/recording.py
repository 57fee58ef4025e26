"""Recordings with known truth: the demo's scene as a bag, and prompts for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer

from sam_core.synthetic import DemoScene, SceneFrame
from sam_ros.annotation.typestore import typestore

__all__ = ["RATE", "START", "box_of", "image_message", "scene_frames", "write_bag", "write_prompts", "write_scene"]

RATE = 30.0  # images a second
START = 1_700_000_000_000_000_000  # ns
IMAGE = "sensor_msgs/msg/Image"


def scene_frames() -> list[SceneFrame]:
    """Return one loop of the scene, 12 s at 640 x 480 px."""
    scene = DemoScene(fps=RATE)
    return [scene.render(k) for k in range(scene.length)]


def image_message(image: NDArray[np.uint8], stamp: int) -> Any:
    """Return an RGB image as `sensor_msgs/Image`."""
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    header = types["std_msgs/msg/Header"](stamp=time, frame_id="camera")
    height, width = image.shape[:2]
    return types[IMAGE](
        header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=image.ravel()
    )


def write_bag(path: Path, images: Iterable[NDArray[np.uint8]]) -> Path:
    """Write RGB images (H, W, 3), one every thirtieth of a second, as a bag (mcap, not compressed)."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection("/camera/image_raw", IMAGE, typestore=typestore())
        for k, image in enumerate(images):
            stamp = START + round(k * 1e9 / RATE)
            bag.write(connection, stamp, typestore().serialize_cdr(image_message(image, stamp), IMAGE))
    return path


def write_scene(path: Path, frames: Sequence[SceneFrame], count: int, first: int = 0) -> Path:
    """Write so many frames of the scene, which begins anew after its last one."""
    return write_bag(path, (frames[(first + k) % len(frames)].image for k in range(count)))


def box_of(mask: NDArray[np.bool_]) -> list[int]:
    """Return the box (x1, y1, x2, y2) of a mask in px, maxima exclusive."""
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def write_prompts(path: Path, labels: NDArray[np.uint8], objects: Sequence[int], frame: int = 0) -> Path:
    """Write a prompt file: the true box of each object on one frame.

    Args:
        path: The file.
        labels: (H, W) the truth on that frame.
        objects: Numbers of the objects in the truth; the k-th gets the id k + 1.
        frame: The frame.
    """
    names = DemoScene.object_names
    entries = [
        {
            "label": names[k - 1] if k <= len(names) else f"object {k}",
            "prompts": [{"frame": frame, "box": box_of(labels == k)}],
        }
        for k in objects
    ]
    path.write_text(yaml.safe_dump({"objects": entries}, sort_keys=False), encoding="utf-8")
    return path
