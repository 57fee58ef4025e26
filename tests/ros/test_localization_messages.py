"""Depth images, calibrations and transforms, as messages give them."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from sam_core import ImageError
from sam_core.localization import CameraError
from sam_ros.conversions.encodings import array_to_image
from sam_ros.conversions.rotations import matrix_of, quaternion_of
from sam_ros.conversions.stamps import to_time
from sam_ros.localization.calibration import Calibrations, camera_of
from sam_ros.localization.depth_images import depth_of
from sam_ros.localization.transforms import TransformBuffer, TransformError

DEPTH = np.array([[0, 500, 1000], [2000, 65535, 1]], np.uint16)


def packed(samples: np.ndarray, form: str, config: tuple[int, float, float] = (0, 0.0, 0.0)) -> CompressedImage:
    data = struct.pack("<iff", *config) + cv2.imencode(".png", samples)[1].tobytes()
    return CompressedImage(format=form, data=data)


def test_depth_of_every_encoding_is_in_metres() -> None:
    metres = DEPTH.astype(np.float32) / 1000
    big = array_to_image(DEPTH.byteswap(), "16UC1", Header())
    big.is_bigendian = 1

    assert np.allclose(depth_of(array_to_image(DEPTH, "16UC1", Header())), metres)
    assert np.allclose(depth_of(big), metres)
    assert np.allclose(depth_of(array_to_image(metres, "32FC1", Header())), metres)
    assert np.allclose(depth_of(packed(DEPTH, "16UC1; compressedDepth png")), metres)
    inverse = depth_of(packed(DEPTH, "32FC1; compressedDepth png", (0, 1000.0, 0.0)))
    assert np.isnan(inverse[0, 0])
    assert inverse[0, 1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (array_to_image(np.zeros((2, 2), np.uint8), "mono8", Header()), "must be 16UC1"),
        (packed(DEPTH, "jpeg"), "not of compressedDepth"),
        (packed(DEPTH, "16UC1; compressedDepth rvl"), "RVL"),
        (packed(DEPTH.astype(np.uint8), "16UC1; compressedDepth png"), "no PNG of 16 bits"),
        (CompressedImage(format="16UC1; compressedDepth png", data=bytes(5)), "cut off"),
    ],
)
def test_depth_that_cannot_be_read_is_named(message: CompressedImage, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        depth_of(message)


def test_depth_shorter_than_it_says_is_refused() -> None:
    message = array_to_image(DEPTH, "16UC1", Header())
    message.height = 1000

    with pytest.raises(ImageError, match="does not hold it"):
        depth_of(message)


def info(**changes: object) -> CameraInfo:
    message = CameraInfo(width=640, height=480, k=[500.0, 0, 320.0, 0, 500.0, 240.0, 0, 0, 1.0])
    for key, value in changes.items():
        setattr(message, key, value)
    return message


def test_region_and_binning_are_honoured() -> None:
    message = info(binning_x=2, binning_y=2)
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 80, 320, 240
    camera = camera_of(message)

    assert (camera.width, camera.height) == (160, 120)
    assert camera.focal == (250.0, 250.0)
    assert camera.centre == pytest.approx(((320 - 100 + 0.5) / 2 - 0.5, (240 - 80 + 0.5) / 2 - 0.5))


@pytest.mark.parametrize("changes", [{"k": [0.0] * 9}, {"binning_x": 2}, {"distortion_model": "magic", "d": [1.0]}])
def test_calibrations_that_cannot_be_used_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CameraError):
        camera_of(info(**changes))


def test_an_image_has_the_calibration_of_its_stamp() -> None:
    calibrations = Calibrations(rectified=False)
    assert calibrations.at(0) is None
    for second, focal in ((1, 500.0), (2, 500.0), (3, 600.0)):
        header = Header(stamp=to_time(second * 10**9), frame_id="camera")
        calibrations.add(info(k=[focal, 0, 320.0, 0, focal, 240.0, 0, 0, 1.0], header=header))

    focals = [calibrations.at(second * 10**9)[0].focal[0] for second in (0, 2, 3, 9)]  # type: ignore[index]
    assert focals == [500.0, 500.0, 600.0, 600.0]


def edge(parent: str, child: str, x: float, stamp: int, turn: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)) -> TFMessage:
    item = TransformStamped(child_frame_id=child, header=Header(stamp=to_time(stamp), frame_id=parent))
    item.transform.translation.x = x
    rotation = item.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = turn
    return TFMessage(transforms=[item])


def test_transforms_are_interpolated_and_never_extrapolated() -> None:
    buffer = TransformBuffer()
    buffer.add(edge("map", "base", 1.0, 0), static=True)
    half = (0.0, 0.0, float(np.sin(np.pi / 4)), float(np.cos(np.pi / 4)))
    buffer.add(edge("base", "camera", 0.0, 1000), static=False)
    buffer.add(edge("base", "camera", 2.0, 2000, half), static=False)
    middle = buffer.lookup("map", "camera", 1500)

    assert middle[0, 3] == pytest.approx(2.0)
    assert np.degrees(np.arctan2(middle[1, 0], middle[0, 0])) == pytest.approx(45.0)
    assert np.allclose(buffer.lookup("camera", "map", 1500) @ middle, np.eye(4))
    for stamp in (999, 2001):
        with pytest.raises(TransformError, match="known from"):
            buffer.lookup("map", "camera", stamp)
    with pytest.raises(TransformError, match="'odom' is not known"):
        buffer.lookup("odom", "camera", 1500)
    buffer.add(edge("island", "palm", 0.0, 0), static=True)
    with pytest.raises(TransformError, match="not connected"):
        buffer.lookup("map", "palm", 1500)


def test_a_static_frame_moves_once_it_is_on_tf() -> None:
    buffer = TransformBuffer()
    buffer.add(edge("map", "camera", 1.0, 0), static=True)
    assert buffer.lookup("map", "camera", 1500)[0, 3] == 1.0
    for stamp in (1000, 2000):
        buffer.add(edge("map", "camera", 3.0, stamp), static=False)
    assert buffer.lookup("map", "camera", 1500)[0, 3] == 3.0
    with pytest.raises(TransformError, match="known from"):
        buffer.lookup("map", "camera", 2001)
    buffer.add(edge("map", "camera", 2.0, 0), static=True)
    assert buffer.lookup("map", "camera", 2001)[0, 3] == 2.0
    buffer.add(edge("base", "camera", 5.0, 3000), static=False)
    assert buffer.lookup("base", "camera", 3000)[0, 3] == 5.0


def test_transforms_that_make_no_sense_are_left_out_and_all_is_bounded() -> None:
    buffer = TransformBuffer()
    buffer.add(edge("map", "a", float("nan"), 1), static=False)
    buffer.add(edge("map", "b", 0.0, 1, (0.0, 0.0, 0.0, 0.0)), static=False)
    buffer.add(edge("c", "c", 0.0, 1), static=False)
    assert not buffer._parents
    for stamp in range(3000):
        buffer.add(edge("map", "d", 0.0, stamp), static=False)
    assert len(buffer._samples["d"]) == 1000
    buffer.add(edge("d", "map", 0.0, 1), static=False)  # a circle
    with pytest.raises(TransformError):
        buffer.lookup("nowhere", "d", 2500)


def test_quaternions_and_matrices() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        quaternion = rng.normal(size=4)
        quaternion /= np.linalg.norm(quaternion) * np.sign(quaternion[3])
        assert np.allclose(quaternion_of(matrix_of(quaternion)), quaternion)
