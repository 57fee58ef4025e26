"""Sources with depth: the rendered room, whose truth is known, and folders in the layout of TUM RGB-D."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from sam_ros.camera.calibration import pinhole
from sam_ros.camera.pictures import Picture, Skipped, SolidTruth, SourceError

__all__ = ["ROOM", "RoomSource", "TumSource", "is_tum"]

ROOM = "room"
_FOV = 1.2  # rad
_RATE = 10.0  # Hz; rendering takes its time
# Sturm et al., A benchmark for the evaluation of RGB-D SLAM systems (2012), and the data set's description.
_UNITS_PER_METRE = 5000
_APART = 0.02  # s between a picture and its depth image, at most
_FOCAL, _CENTRE = 525.0, (319.5, 239.5)  # px, the intrinsics that the data set recommends


class RoomSource:
    """The rendered room: solids at known poses, with depth as a stereo camera measures it.

    Args:
        width: px.
        height: px.
        rate: Pictures per second; 0 for 10.
    """

    def __init__(self, width: int, height: int, rate: float) -> None:
        from sam_core.synthetic.room_scene import RoomScene

        self.rate: float | None = rate or _RATE
        self.skipped = Skipped()
        self.scene = RoomScene(width, height, self.rate, horizontal_fov=_FOV)
        self.calibration = pinhole(width, height, _FOV)
        self.camera_pose = self.scene.camera_pose

    def __iter__(self) -> Iterator[Picture]:
        from sam_core.synthetic.depth_noise import stereo_depth

        rng = np.random.default_rng(0)
        for index in range(self.scene.length):
            frame = self.scene.render(index)
            truth = tuple(
                SolidTruth(body.name, pose.centre, pose.yaw, body.solid.size)
                for body, pose in zip(self.scene.objects, frame.poses, strict=True)
            )
            yield Picture(
                cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR),  # type: ignore[arg-type]
                frame.labels,
                depth=stereo_depth(frame.depth, self.scene.intrinsics[0, 0], rng),
                solids=truth,
            )


class TumSource:
    """A folder in the layout of TUM RGB-D: `rgb.txt` and `depth.txt` list stamps and files.

    A picture whose nearest depth image is more than 20 ms away has none.

    Raises:
        SourceError: A list cannot be read, or names nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.skipped = Skipped()
        self._pictures, self._depths = (_read_list(folder / name) for name in ("rgb.txt", "depth.txt"))
        stamps = [stamp for stamp, _ in self._pictures]
        steps = np.diff(stamps)
        self.rate: float | None = float(1 / np.median(steps)) if len(steps) and np.median(steps) > 0 else None
        self.calibration = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.0] * 5)
        (x, y), f = _CENTRE, _FOCAL
        self.calibration.k = [f, 0.0, x, 0.0, f, y, 0.0, 0.0, 1.0]
        self.calibration.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        self.calibration.p = [f, 0.0, x, 0.0, 0.0, f, y, 0.0, 0.0, 0.0, 1.0, 0.0]
        self.camera_pose = None

    def __iter__(self) -> Iterator[Picture]:
        stamps = [stamp for stamp, _ in self._depths]
        readable = False
        for stamp, path in self._pictures:
            image = _imread(path, cv2.IMREAD_COLOR)
            if image is None:
                self.skipped.add(f"{path} is no image that OpenCV can read")
                continue
            readable = True
            depth, delay = None, 0.0
            after = bisect_left(stamps, stamp)
            nearest = min(range(max(after - 1, 0), min(after + 1, len(stamps))), key=lambda i: abs(stamps[i] - stamp))
            if abs(stamps[nearest] - stamp) <= _APART:
                samples = _imread(self._depths[nearest][1], cv2.IMREAD_UNCHANGED)
                if samples is None or samples.ndim != 2 or samples.dtype != np.uint16:
                    self.skipped.add(f"{self._depths[nearest][1]} is no depth image of 16 bits")
                else:
                    depth = samples.astype(np.float32) / np.float32(_UNITS_PER_METRE)
                    delay = stamps[nearest] - stamp
            yield Picture(image, depth=depth, depth_delay=delay)
        if not readable:
            raise SourceError(f"none of the {len(self._pictures)} images in {self._folder} can be read")


def is_tum(folder: Path) -> bool:
    """Say whether a folder has the layout of TUM RGB-D."""
    return (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file()


def _read_list(path: Path) -> list[tuple[float, Path]]:
    """Return stamps in s and files, in the order of the stamps."""
    entries = []
    try:
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) >= 2 and not line.startswith("#"):
                entries.append((float(words[0]), path.parent / words[1]))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is no list of stamps and files: {error}") from error
    if not entries:
        raise SourceError(f"{path} names no images")
    return sorted(entries)


def _imread(path: Path, flags: int) -> NDArray[np.uint8] | None:
    try:
        return cv2.imread(str(path), flags)  # type: ignore[return-value]
    except cv2.error:
        return None
