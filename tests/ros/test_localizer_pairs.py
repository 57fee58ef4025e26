"""A pair of messages on its way to boxes: calibrations beyond the limits, and objects without a mask."""

from __future__ import annotations

import numpy as np
import pytest
from sam_msgs.msg import LocalizedObject, TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from sam_core.localization import LocalizerSettings
from sam_ros.conversions.encodings import array_to_image
from sam_ros.localization.calibration import Calibrations
from sam_ros.localization.frame import Located, Pair, RefusedPairError, locate_pair, views_of
from sam_ros.localization.parameters import LocalizerParameters

PIXELS = 1000  # max_image_pixels
HEADER = Header(frame_id="camera")


def calibrated(width: int, height: int, focal: float = 20.0) -> Calibrations:
    calibrations = Calibrations(rectified=False)
    k = [focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1.0]
    calibrations.add(CameraInfo(header=HEADER, width=width, height=height, k=k))
    return calibrations


def located(colour: Calibrations, depth: Calibrations | None = None, state: int = TrackedObject.TRACKED) -> Located:
    """Locate one object, published without a mask, in an image of 20 x 20 px whose depth is 1 m."""
    objects = TrackedObjectArray(header=HEADER, objects=[TrackedObject(id=1, state=state)])
    pair = Pair(objects, array_to_image(np.ones((20, 20), np.float32), "32FC1", HEADER), deadline=0.0)
    parameters = LocalizerParameters(registered=depth is None, max_image_pixels=PIXELS)
    views = views_of(pair, parameters, colour, depth or Calibrations(rectified=False), None)
    return locate_pair(pair, views, LocalizerSettings(), PIXELS)


def test_calibrations_of_huge_images_are_refused() -> None:
    with pytest.raises(RefusedPairError, match=r"camera_info cannot be used: .* 30000 x 30000 px") as refused:
        located(calibrated(30000, 30000))
    assert refused.value.cause == "unusable camera_info"
    with pytest.raises(RefusedPairError, match=r"depth/camera_info cannot be used: .* 30000 x 30000 px") as refused:
        located(calibrated(20, 20), calibrated(30000, 30000))
    assert refused.value.cause == "unusable depth/camera_info"


def test_cameras_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(RefusedPairError, match=r"cannot be registered: .* at most 16 times") as refused:
        located(calibrated(20, 20), calibrated(20, 20, focal=1e-3))
    assert refused.value.cause == "unusable depth/camera_info"


@pytest.mark.parametrize(
    ("state", "answer", "reason"),
    [
        (TrackedObject.ABSENT, LocalizedObject.ABSENT, "does not see it"),
        (TrackedObject.NO_MASK, LocalizedObject.NO_DEPTH, "mask_threshold"),
        (TrackedObject.TRACKED, LocalizedObject.NO_DEPTH, "publish_masks"),
    ],
)
def test_an_object_without_a_mask_says_why(state: int, answer: int, reason: str) -> None:
    (found,) = located(calibrated(20, 20), state=state).objects

    assert (found.state, found.location) == (answer, None)
    assert reason in found.reason
