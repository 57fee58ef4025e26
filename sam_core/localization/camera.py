"""A calibrated camera: which ray each pixel sees, with lens distortion, and where a point in space is in the image.

Camera frames are optical: x right, y down, z along the axis. Pixel centres are whole numbers, as in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["DISTORTION_MODELS", "Camera", "CameraError"]

Floats: TypeAlias = NDArray[np.float32]

# Model -> numbers of coefficients that OpenCV takes. The names are those of ROS's CameraInfo.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "": (0, 4, 5),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 8, 12, 14),
    "equidistant": (0, 4),
    "fisheye": (0, 4),
}
_FISHEYE = ("equidistant", "fisheye")
_LARGEST = 32768  # px a side
_REFINEMENTS = 8


class CameraError(ValueError):
    """A calibration that cannot be used; the text says why."""


@dataclass(frozen=True)
class Camera:
    """Intrinsic parameters for images of one size.

    Attributes:
        width: px.
        height: px.
        focal: (fx, fy) in px.
        centre: (cx, cy), the principal point in px.
        model: One of `DISTORTION_MODELS`; the fisheye model is Kannala and Brandt's (2006), the others Brown's.
        distortion: Its coefficients.

    Raises:
        CameraError: A number is not finite or not positive where it must be, or the model is not known.
    """

    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = np.array([*self.focal, *self.centre, *self.distortion])
        if not (0 < self.width <= _LARGEST and 0 < self.height <= _LARGEST):
            raise CameraError(f"the calibration is of an image of {self.width} x {self.height} px")
        if not np.isfinite(numbers).all():
            raise CameraError("the calibration holds a number that is not finite")
        if min(self.focal) <= 0:
            raise CameraError(
                f"the focal length is {self.focal[0]:g} x {self.focal[1]:g} px: the camera is not calibrated"
            )
        counts = DISTORTION_MODELS.get(self.model)
        if counts is None:
            known = ", ".join(filter(None, DISTORTION_MODELS))
            raise CameraError(f"the distortion model '{self.model[:40]}' is not known; known are {known}")
        if len(self.distortion) not in counts:
            raise CameraError(f"{self.model or 'the model'} has {len(self.distortion)} distortion coefficients, not "
                              + " or ".join(map(str, counts)))  # fmt: skip

    @property
    def is_distorted(self) -> bool:
        """Whether rays bend; without coefficients other than 0, all models but the fisheye's are ideal pinholes."""
        return self.model in _FISHEYE or any(self.distortion)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The matrix K, (3, 3)."""
        (fx, fy), (cx, cy) = self.focal, self.centre
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @cached_property
    def rays(self) -> Floats:
        """For each pixel x / z and y / z of what it sees, (H, W, 2)."""
        ys, xs = np.mgrid[: self.height, : self.width]
        if not self.is_distorted:
            (fx, fy), (cx, cy) = self.focal, self.centre
            return np.stack(((xs - cx) / fx, (ys - cy) / fy), axis=-1).astype(np.float32)
        pixels = np.stack((xs, ys), axis=-1).reshape(-1, 1, 2).astype(np.float64)
        coefficients = np.array(self.distortion)
        if self.model in _FISHEYE:
            found = cv2.fisheye.undistortPoints(pixels, self.matrix, _four(coefficients))
        else:
            found = cv2.undistortPoints(pixels, self.matrix, coefficients)
        rays = np.asarray(found, np.float64).reshape(-1, 2)
        ones = np.ones((len(rays), 1))
        for _ in range(_REFINEMENTS):  # OpenCV stops after a few steps; how many depends on its version
            rays = rays + (pixels[:, 0] - self.project(np.concatenate((rays, ones), axis=1))) / self.focal
        return rays.reshape(self.height, self.width, 2).astype(np.float32)

    def rays_at(self, columns: NDArray[np.integer], rows: NDArray[np.integer]) -> Floats:
        """Return the rays (N, 3) of pixels, float32, whose z is 1."""
        rays = np.ones((len(rows), 3), np.float32)
        if self.is_distorted:
            rays[:, :2] = self.rays[rows, columns]
        else:
            (fx, fy), (cx, cy) = self.focal, self.centre
            rays[:, 0], rays[:, 1] = (columns - cx) / fx, (rows - cy) / fy
        return rays

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points (N, 3) in the camera's frame are in the image, (N, 2) px; their z is positive."""
        points = np.asarray(points, np.float64)
        if len(points) == 0:
            return np.zeros((0, 2))
        if not self.is_distorted:
            return points[:, :2] / points[:, 2:] * self.focal + self.centre
        still = np.zeros(3)
        if self.model in _FISHEYE:
            pixels, _ = cv2.fisheye.projectPoints(
                points[:, None], still, still, self.matrix, _four(np.array(self.distortion))
            )
        else:
            pixels, _ = cv2.projectPoints(points, still, still, self.matrix, np.array(self.distortion))
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """Return the camera of a part of the image, given in px."""
        cx, cy = self.centre
        return replace(self, width=width, height=height, centre=(cx - left, cy - top))

    def scaled(self, width: int, height: int) -> Camera:
        """Return the camera of the image at another size; binning is that, too.

        Raises:
            CameraError: The sides have another ratio, so that the image was cropped in a way that is not known.
        """
        x, y = width / self.width, height / self.height
        if abs(x / y - 1) > 0.01:
            raise CameraError(
                f"the calibration is of {self.width} x {self.height} px; {width} x {height} px have another shape"
            )
        (fx, fy), (cx, cy) = self.focal, self.centre
        centre = ((cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5)
        return replace(self, width=width, height=height, focal=(fx * x, fy * y), centre=centre)


def _four(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    return coefficients if len(coefficients) else np.zeros(4)
