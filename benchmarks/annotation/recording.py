"""Recordings with known truth: the demo's scene as a bag, and prompts for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer

from sam_core.synthetic import DemoScene, SceneFrame
from sam_ros.annotation.typestore import typestore

__all__ = ["RATE", "box_of", "scene_frames", "write_bag", "write_jpegs", "write_prompts", "write_scene"]

RATE = 30.0  # images a second
_START = 1_700_000_000_000_000_000  # ns
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def scene_frames() -> list[SceneFrame]:
    """Return one loop of the scene, 12 s at 640 x 480 px."""
    scene = DemoScene(fps=RATE)
    return [scene.render(k) for k in range(scene.length)]


def _header(stamp: int) -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id="camera")


def _image_message(image: NDArray[np.uint8], stamp: int) -> Any:
    height, width = image.shape[:2]
    facts = {"height": height, "width": width, "encoding": "rgb8", "is_bigendian": 0, "step": 3 * width}
    return typestore().types[_IMAGE](header=_header(stamp), data=image.ravel(), **facts)


def _write(path: Path, topic: str, kind: str, messages: Iterable[tuple[int, Any]]) -> Path:
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        connection = bag.add_connection(topic, kind, typestore=typestore())
        for stamp, message in messages:
            bag.write(connection, stamp, typestore().serialize_cdr(message, kind))
    return path


def _stamps() -> Iterable[int]:
    return (_START + round(k * 1e9 / RATE) for k in count())


def write_bag(path: Path, images: Iterable[NDArray[np.uint8]]) -> Path:
    """Write RGB images (H, W, 3), one every thirtieth of a second, as a bag (mcap)."""
    messages = ((stamp, _image_message(image, stamp)) for image, stamp in zip(images, _stamps(), strict=False))
    return _write(path, "/camera/image_raw", _IMAGE, messages)


def write_scene(path: Path, frames: Sequence[SceneFrame], length: int) -> Path:
    """Write so many frames of the scene, which begins anew after its last one."""
    return write_bag(path, (frames[k % len(frames)].image for k in range(length)))


def write_jpegs(path: Path, frames: Sequence[SceneFrame], length: int) -> Path:
    """Write likewise, as JPEGs (`sensor_msgs/CompressedImage`): a tenth of the bytes."""
    kind = typestore().types[_COMPRESSED]
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(one.image, cv2.COLOR_RGB2BGR))[1].reshape(-1) for one in frames]
    messages = (
        (stamp, kind(header=_header(stamp), format="rgb8; jpeg compressed bgr8", data=jpegs[k % len(jpegs)]))
        for k, stamp in zip(range(length), _stamps(), strict=False)
    )
    return _write(path, "/camera/image_raw/compressed", _COMPRESSED, messages)


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
    entries = [{"label": names[k - 1], "prompts": [{"frame": frame, "box": box_of(labels == k)}]} for k in objects]
    path.write_text(yaml.safe_dump({"objects": entries}, sort_keys=False), encoding="utf-8")
    return path
