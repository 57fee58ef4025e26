"""One image's objects and its depth: from the pair of messages to what is located."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from sam_msgs.msg import LocalizedObject, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CompressedImage, Image

from sam_core import ImageError
from sam_core.localization import Camera, CameraError, Finding, LocalizerSettings, Location, Miss, locate, register
from sam_ros.conversions.encodings import check_size
from sam_ros.conversions.stamps import stamp_of
from sam_ros.localization.calibration import Calibrations
from sam_ros.localization.depth_images import depth_of
from sam_ros.localization.masks import mask_of_object
from sam_ros.localization.parameters import LocalizerParameters
from sam_ros.localization.transforms import Transforms
from sam_ros.runtime.errors import RefusedError

__all__ = ["DepthMessage", "Located", "LocatedObject", "Pair", "RefusedPairError", "Views", "locate_pair", "views_of"]

DepthMessage: TypeAlias = "Image | CompressedImage"
Transform: TypeAlias = NDArray[np.float64]

_STATES = {Miss.NO_DEPTH: LocalizedObject.NO_DEPTH, Miss.TOO_FEW_POINTS: LocalizedObject.TOO_FEW_POINTS}
_RESIZED = 0.01  # most difference of the sides' ratio between depth and image, where one is the other at another size


class RefusedPairError(RefusedError):
    """A pair that cannot be localized; `cause` is a short name to count it under."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True)
class Pair:
    """An image's objects and the depth image of the same moment.

    Attributes:
        objects: From the tracker.
        depth: The depth image.
        deadline: Monotonic s until which transforms are waited for.
    """

    objects: TrackedObjectArray
    depth: DepthMessage
    deadline: float

    @property
    def stamp(self) -> int:
        """The image's stamp, ns."""
        return stamp_of(self.objects.header)


@dataclass(frozen=True)
class Views:
    """Where the cameras are at the pair's stamp.

    Attributes:
        camera: Of the image.
        depth_camera: Of the depth image where it is not registered; None where it is.
        to_camera: (4, 4) from the depth camera's frame to the image's; None likewise.
        to_target: (4, 4) from the image's frame to that of the results.
        frame_id: Frame of the results.
        up: Unit vector (3,) that points up in the image's frame; None where it is not known.
    """

    camera: Camera
    depth_camera: Camera | None
    to_camera: Transform | None
    to_target: Transform
    frame_id: str
    up: NDArray[np.float64] | None


@dataclass(frozen=True)
class LocatedObject:
    """An object of the tracker, and where it is.

    Attributes:
        item: The tracker's message.
        location: Its box in the frame of the results; None where there is none.
        state: Of LocalizedObject.
        reason: Why there is no box; else empty.
        finding: Its points; None where it has no mask.
    """

    item: TrackedObject
    location: Location | None
    state: int
    reason: str = ""
    finding: Finding | None = None


@dataclass(frozen=True)
class Located:
    """All objects of an image in space."""

    pair: Pair
    views: Views
    objects: list[LocatedObject] = field(default_factory=list)


def views_of(
    pair: Pair,
    parameters: LocalizerParameters,
    colour: Calibrations,
    depth: Calibrations,
    transforms: Transforms | None,
) -> Views:
    """Return cameras and transforms at a pair's stamp.

    Raises:
        RefusedPairError: A calibration is missing, cannot be used, or is of an image larger than `max_image_pixels`.
        TransformError: A transform is not known (yet).
    """
    stamp = pair.stamp
    camera, camera_frame = _calibration(colour, stamp, "camera_info", parameters.max_image_pixels)
    frame = pair.objects.header.frame_id or camera_frame
    depth_camera = to_camera = None
    if not parameters.registered:
        depth_camera, depth_frame = _calibration(depth, stamp, "depth/camera_info", parameters.max_image_pixels)
        depth_frame = pair.depth.header.frame_id or depth_frame
        to_camera = np.eye(4)
        if depth_frame != frame:
            assert transforms is not None
            to_camera = transforms.lookup(frame, depth_frame, stamp)
    to_target, up = np.eye(4), None
    if parameters.target_frame:
        assert transforms is not None
        to_target = transforms.lookup(parameters.target_frame, frame, stamp)
    gravity = parameters.gravity_frame or parameters.target_frame
    if parameters.boxes == "upright" and gravity:
        assert transforms is not None
        up = transforms.lookup(gravity, frame, stamp)[2, :3]
    return Views(camera, depth_camera, to_camera, to_target, parameters.target_frame or frame, up)


def _calibration(calibrations: Calibrations, stamp: int, topic: str, max_pixels: int) -> tuple[Camera, str]:
    try:
        found = calibrations.at(stamp)
        if found is not None:
            check_size(found[0].width, found[0].height, max_pixels)
    except (CameraError, ImageError) as error:
        raise RefusedPairError(f"unusable {topic}", f"{topic} cannot be used: {error}") from error
    if found is None:
        raise RefusedPairError(f"no {topic}", f"no {topic} has come yet")
    return found


def locate_pair(pair: Pair, views: Views, settings: LocalizerSettings, max_pixels: int) -> Located:
    """Locate all objects of a pair.

    Raises:
        RefusedPairError: The depth image cannot be used.
    """
    try:
        depth = depth_of(pair.depth, max_pixels=max_pixels)
    except ImageError as error:
        raise RefusedPairError("unreadable depth image", str(error)) from error
    depth = _in_view(depth, views)
    located = Located(pair, views)
    for item in pair.objects.objects:
        located.objects.append(_locate_object(item, depth, views, settings))
    return located


def _in_view(depth: NDArray[np.float32], views: Views) -> NDArray[np.float32]:
    """Bring a depth image into the colour camera's view.

    Raises:
        RefusedPairError: Its size is that of no camera, or the two cameras do not fit each other.
    """
    camera = views.depth_camera or views.camera
    height, width = depth.shape
    if abs(width * camera.height / (height * camera.width) - 1) > _RESIZED:
        raise RefusedPairError(
            "depth image of another size",
            f"the depth image is {width} x {height} px, but camera_info is of {camera.width} x {camera.height} px",
        )
    if views.depth_camera is not None and views.to_camera is not None:
        try:
            return register(depth, camera.scaled(width, height), views.camera, views.to_camera)
        except CameraError as error:
            raise RefusedPairError("unusable depth/camera_info", f"depth cannot be registered: {error}") from error
    if (width, height) == (camera.width, camera.height):
        return depth
    return cv2.resize(depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


def _locate_object(
    item: TrackedObject, depth: NDArray[np.float32], views: Views, settings: LocalizerSettings
) -> LocatedObject:
    if item.state == TrackedObject.NO_MASK:
        text = "the tracker sees it, but no pixel is above the tracker's parameter mask_threshold."
        return LocatedObject(item, None, LocalizedObject.NO_DEPTH, text)
    if item.state != TrackedObject.TRACKED:
        return LocatedObject(item, None, LocalizedObject.ABSENT, "the tracker does not see it in this image.")
    try:
        mask = mask_of_object(item, (views.camera.height, views.camera.width))
    except ImageError as error:
        return LocatedObject(item, None, LocalizedObject.NO_DEPTH, f"{error}.")
    if mask is None:
        text = "it has no mask: the tracker's parameter publish_masks must be true."
        return LocatedObject(item, None, LocalizedObject.NO_DEPTH, text)
    finding = locate(mask, depth, views.camera, settings, views.up)
    if finding.location is None or finding.miss is not None:
        assert finding.miss is not None
        return LocatedObject(item, None, _STATES[finding.miss], finding.reason, finding)
    location = finding.location.moved(views.to_target)
    if not np.isfinite(np.concatenate((location.centre, location.size, location.rotation.ravel()))).all():
        text = "its points make no box."
        return LocatedObject(item, None, LocalizedObject.TOO_FEW_POINTS, text, finding)
    return LocatedObject(item, location, LocalizedObject.LOCALIZED, "", finding)
