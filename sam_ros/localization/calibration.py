"""From CameraInfo to a camera: region of interest, binning and rectification are honoured."""

from __future__ import annotations

from collections import deque

from sensor_msgs.msg import CameraInfo

from sam_core.localization import Camera, CameraError
from sam_ros.conversions.stamps import stamp_of

__all__ = ["Calibrations", "camera_of"]

_REMEMBERED = 8  # changes of a calibration


def camera_of(info: CameraInfo, *, rectified: bool = False) -> Camera:
    """Return the camera of the images that a CameraInfo goes with.

    K and the distortion are of the full sensor; the region of interest is cut out of it, then pixels are binned
    (sensor_msgs/CameraInfo).

    Args:
        info: The message.
        rectified: Whether images are rectified: then P counts, without distortion.

    Raises:
        CameraError: It is not calibrated, or its numbers make no sense.
    """
    if rectified:
        focal, centre = (info.p[0], info.p[5]), (info.p[2], info.p[6])
        camera = Camera(info.width, info.height, focal, centre)
    else:
        if info.k[1]:
            raise CameraError(f"K has a skew of {info.k[1]:g}, which is not supported")
        focal, centre = (info.k[0], info.k[4]), (info.k[2], info.k[5])
        camera = Camera(info.width, info.height, focal, centre, info.distortion_model, tuple(info.d))
    roi = info.roi
    if roi.width or roi.height:
        if (
            roi.x_offset + roi.width > info.width
            or roi.y_offset + roi.height > info.height
            or not roi.width * roi.height
        ):
            raise CameraError(f"its region of interest does not lie in the image of {info.width} x {info.height} px")
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    x, y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (x, y) == (1, 1):
        return camera
    if x != y:
        raise CameraError(f"it bins {x} x {y} pixels; only the same number both ways is supported")
    return camera.scaled(max(camera.width // x, 1), max(camera.height // y, 1))


class Calibrations:
    """The calibrations of one camera over time: an image has the one that was valid at its stamp."""

    def __init__(self, *, rectified: bool) -> None:
        self._rectified = rectified
        self._infos: deque[tuple[int, CameraInfo, Camera | CameraError]] = deque(maxlen=_REMEMBERED)

    def add(self, info: CameraInfo) -> None:
        """Take a message; one that says the same as the newest changes nothing."""
        if self._infos and _contents(self._infos[-1][1]) == _contents(info):
            return
        camera: Camera | CameraError
        try:
            camera = camera_of(info, rectified=self._rectified)
        except CameraError as error:
            camera = error
        self._infos.append((stamp_of(info.header), info, camera))

    def at(self, stamp: int) -> tuple[Camera, str] | None:
        """Return the camera of an image and its coordinate frame; None before the first message.

        Raises:
            CameraError: The calibration that is valid then cannot be used.
        """
        if not self._infos:
            return None
        valid = [entry for entry in self._infos if entry[0] <= stamp] or [self._infos[0]]
        _, info, camera = valid[-1]
        if isinstance(camera, CameraError):
            raise camera
        return camera, info.header.frame_id

    def rewind(self) -> None:
        """Let the newest calibration be valid from the beginning of time: the clock has gone back."""
        if self._infos:
            _, info, camera = self._infos[-1]
            self._infos.clear()
            self._infos.append((0, info, camera))

    def clear(self) -> None:
        """Forget everything."""
        self._infos.clear()


def _contents(info: CameraInfo) -> tuple[object, ...]:
    roi = info.roi
    return (
        info.width, info.height, info.distortion_model, tuple(info.d), tuple(info.k), tuple(info.p), info.binning_x,
        info.binning_y, roi.x_offset, roi.y_offset, roi.width, roi.height, info.header.frame_id,
    )  # fmt: skip
