"""CameraInfo: from a file, from a field of view, at another size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sam_ros.camera.calibration import CalibrationError, load_calibration, pinhole, resized

FILE = """
image_width: 640
image_height: 480
camera_name: eye
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320.5, 0, 501, 240.25, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -2e-1, 0.001, 1e-05, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [510, 0, 321, -8, 0, 511, 241, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "eye.yaml"
    path.write_text(FILE)
    return path


def test_a_field_of_view_is_seen_by_the_outer_edges_of_the_outer_pixels() -> None:
    info = pinhole(640, 480, math.radians(90))
    focal, x, y = info.k[0], info.k[2], info.k[5]
    left, right = (-0.5 - x) / focal, (639.5 - x) / focal
    assert math.degrees(math.atan(right) - math.atan(left)) == pytest.approx(90)
    assert (x, y, info.k[4]) == (319.5, 239.5, focal)
    assert (info.width, info.height, info.distortion_model, list(info.d)) == (640, 480, "plumb_bob", [0.0] * 5)
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))


def test_an_unknown_field_of_view_is_not_calibrated() -> None:
    info = pinhole(640, 480, 0.0)
    assert (info.width, info.height, info.distortion_model) == (640, 480, "")
    assert not np.any(info.k)


def test_a_calibration_file_is_read(file: Path) -> None:
    for name in (str(file), f"file://{file}"):
        info = load_calibration(name)
        assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
        assert list(info.d) == [0.1, -0.2, 0.001, 1e-05, 0]
        assert list(info.k) == [500.5, 0, 320.5, 0, 501, 240.25, 0, 0, 1]
        assert list(info.p) == [510, 0, 321, -8, 0, 511, 241, 0, 0, 0, 1, 0]


def test_a_resized_image_has_the_same_rays(file: Path) -> None:
    info, half = load_calibration(str(file)), resized(load_calibration(str(file)), 320, 240)
    # The left edge of the image, -0.5 px, lies in the same direction at every size.
    assert (-0.5 - half.k[2]) / half.k[0] == pytest.approx((-0.5 - info.k[2]) / info.k[0])
    assert (239.5 - half.k[5]) / half.k[4] == pytest.approx((479.5 - info.k[5]) / info.k[4])
    assert (half.p[0], half.p[3], half.p[5]) == (255, -4, 255.5)
    assert (half.width, half.height, list(half.d)) == (320, 240, list(info.d))
    with pytest.raises(CalibrationError, match="images of 640 x 360 px have another shape"):
        resized(info, 640, 360)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("image_width: 640", "", "image_width"),
        ("[500.5, 0,", "[", "camera_matrix holds 7 numbers, not 9"),
        ("500.5", ".nan", "not finite"),
        ("500.5", "0", "focal length is not positive"),
        ("image_width: 640", "image_width: -640", "no calibration file"),
        ("image_width: 640", "image_width: wide", "no calibration file"),
        ("image_width: 640", "image_width: [", "no calibration file"),
    ],
)
def test_what_is_no_calibration_says_so(file: Path, old: str, new: str, text: str) -> None:
    file.write_text(FILE.replace(old, new))
    with pytest.raises(CalibrationError, match=text):
        load_calibration(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"missing\.yaml is no calibration file"):
        load_calibration(str(tmp_path / "missing.yaml"))
