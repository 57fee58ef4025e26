"""CameraInfo of the camera: from a calibration file, from a field of view, or marked as unknown.

Pixel centres are at whole numbers, as in ROS's image_geometry and OpenCV.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from sensor_msgs.msg import CameraInfo

from sam_ros.runtime.errors import FatalError

__all__ = ["CalibrationError", "load_calibration", "pinhole", "resized"]

_MATRICES = {"k": ("camera_matrix", 9), "r": ("rectification_matrix", 9), "p": ("projection_matrix", 12)}


class CalibrationError(FatalError):
    """A calibration that cannot be read, or is of another image."""


def pinhole(width: int, height: int, horizontal_fov: float) -> CameraInfo:
    """Return an ideal camera: square pixels, the axis through the image's centre, no distortion.

    Args:
        width: px.
        height: px.
        horizontal_fov: Field of view over the width in rad; 0 for unknown.

    Returns:
        The camera. Where the field of view is unknown, K is zero, which means "not calibrated" in CameraInfo.
    """
    info = CameraInfo(width=width, height=height)
    if horizontal_fov:
        focal, x, y = width / (2 * math.tan(horizontal_fov / 2)), (width - 1) / 2, (height - 1) / 2
        info.distortion_model, info.d = "plumb_bob", [0.0] * 5
        info.k = [focal, 0.0, x, 0.0, focal, y, 0.0, 0.0, 1.0]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.p = [focal, 0.0, x, 0.0, 0.0, focal, y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def load_calibration(path: str) -> CameraInfo:
    """Read a file of camera_calibration (YAML), as other camera drivers do.

    Args:
        path: The file; may begin with "file://".

    Raises:
        CalibrationError: There is no such file, or it holds no calibration.
    """
    file = Path(path.removeprefix("file://")).expanduser()
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        info = CameraInfo(width=int(content["image_width"]), height=int(content["image_height"]))
        info.distortion_model = str(content["distortion_model"])
        info.d = _numbers(content, "distortion_coefficients")
        for name, (key, count) in _MATRICES.items():
            values = _numbers(content, key)
            if len(values) != count:
                raise ValueError(f"{key} holds {len(values)} numbers, not {count}")
            setattr(info, name, values)
    except Exception as error:  # of the file system, of YAML, of a value that is missing or has the wrong type
        raise CalibrationError(f"{file} is no calibration file: {type(error).__name__}: {error}") from error
    if min(info.width, info.height) < 1 or info.k[0] <= 0:
        raise CalibrationError(f"{file} is no calibration file: its image or its focal length is not positive")
    return info


def _numbers(content: Any, key: str) -> list[float]:
    """Return the numbers of a matrix.

    Raises:
        ValueError: One of them is not finite.
    """
    values = [float(value) for value in content[key]["data"]]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{key} holds a number that is not finite")
    return values


def resized(info: CameraInfo, width: int, height: int) -> CameraInfo:
    """Return a camera for its image at another size.

    Raises:
        CalibrationError: The sides have another ratio, so that the image was cropped in a way that is not known.
    """
    x, y = width / info.width, height / info.height
    if abs(x / y - 1) > 0.01:
        raise CalibrationError(
            f"the calibration is of {info.width} x {info.height} px; images of {width} x {height} px have another shape"
        )
    k, p = list(info.k), list(info.p)
    for matrix, row in ((k, 3), (p, 4)):
        matrix[0], matrix[2] = matrix[0] * x, (matrix[2] + 0.5) * x - 0.5
        matrix[row + 1], matrix[row + 2] = matrix[row + 1] * y, (matrix[row + 2] + 0.5) * y - 0.5
    p[3], p[7] = p[3] * x, p[7] * y
    model = info.distortion_model
    return CameraInfo(width=width, height=height, distortion_model=model, d=info.d, k=k, r=info.r, p=p)
