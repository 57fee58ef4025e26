from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sam_core import ImageError
from sam_ros.conversions import encodings
from sam_ros.conversions.encodings import array_to_image, compressed_to_rgb, image_to_rgb, mask_image_to_array

# Two rows of two pixels: red, green / blue, a mixed colour.
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)


def message(encoding: str, rows: list[list[int]], width: int, *, padding: int = 0, big_endian: bool = False) -> Image:
    """Write an image by hand: rows of bytes, each padded with 99."""
    image = Image(encoding=encoding, height=len(rows), width=width, is_bigendian=int(big_endian))
    image.step = len(rows[0]) + padding
    image.data = array.array("B", [byte for row in rows for byte in row + [99] * padding])
    return image


def own(image: Image) -> np.ndarray:
    return image_to_rgb(image, use_cv_bridge=False)


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("rgb8", [[255, 0, 0, 0, 255, 0], [0, 0, 255, 10, 20, 30]]),
        ("bgr8", [[0, 0, 255, 0, 255, 0], [255, 0, 0, 30, 20, 10]]),
        ("8UC3", [[0, 0, 255, 0, 255, 0], [255, 0, 0, 30, 20, 10]]),
        ("rgba8", [[255, 0, 0, 7, 0, 255, 0, 8], [0, 0, 255, 9, 10, 20, 30, 255]]),
        ("bgra8", [[0, 0, 255, 7, 0, 255, 0, 8], [255, 0, 0, 9, 30, 20, 10, 255]]),
    ],
)
def test_colours_come_out_as_rgb(encoding: str, rows: list[list[int]], padding: int) -> None:
    np.testing.assert_array_equal(own(message(encoding, rows, 2, padding=padding)), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding: str) -> None:
    rgb = own(message(encoding, [[0, 17], [128, 255]], 2, padding=3))
    np.testing.assert_array_equal(rgb, np.repeat(np.array([[[0], [17]], [[128], [255]]], np.uint8), 3, axis=2))


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_maps_the_full_range_in_either_byte_order(big_endian: bool, padding: int) -> None:
    # 0 -> 0, 257 -> 1, 385 -> 1.498 -> 1, 386 -> 1.502 -> 2, 0x8000 -> 127.502 -> 128, 65535 -> 255
    values = [0, 257, 385, 386, 0x8000, 65535]
    order = "big" if big_endian else "little"
    row = [byte for value in values for byte in value.to_bytes(2, order)]
    rgb = own(message("mono16", [row, row], 6, padding=padding, big_endian=big_endian))
    np.testing.assert_array_equal(rgb[0, :, 0], [0, 1, 1, 2, 128, 255])
    np.testing.assert_array_equal(rgb[0], rgb[1])
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


def test_yuv422_in_both_orders_and_under_both_names() -> None:
    # BT.601, video range. Two grey pixels: 1.164 * (126 - 16) = 128. Two red ones: Y 81, U 90, V 240 is (254, 0, 0).
    uyvy = [[128, 126, 128, 126, 90, 81, 240, 81]]
    yuyv = [[126, 128, 126, 128, 81, 90, 81, 240]]
    expected = np.array([[[128, 128, 128], [128, 128, 128], [254, 0, 0], [254, 0, 0]]])
    for encoding, rows in (("yuv422", uyvy), ("uyvy", uyvy), ("yuv422_yuy2", yuyv), ("yuyv", yuyv)):
        rgb = own(message(encoding, rows, 4, padding=2))
        assert np.abs(rgb.astype(int) - expected).max() <= 1, encoding


@pytest.mark.parametrize(
    ("encoding", "tile"),
    [
        ("bayer_rggb8", [[200, 100], [100, 50]]),
        ("bayer_bggr8", [[50, 100], [100, 200]]),
        ("bayer_gbrg8", [[100, 50], [200, 100]]),
        ("bayer_grbg8", [[100, 200], [50, 100]]),
    ],
)
def test_bayer_patterns_find_their_colours(encoding: str, tile: list[list[int]]) -> None:
    mosaic = np.tile(np.array(tile, np.uint8), (3, 4))  # one colour everywhere: red 200, green 100, blue 50
    rgb = own(message(encoding, mosaic.tolist(), 8, padding=4))
    assert rgb.shape == (6, 8, 3)
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.array([200, 100, 50], np.uint8), (6, 8, 3)))


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("rgba8", 4)])
def test_rgb_is_a_view_of_the_message(encoding: str, channels: int) -> None:
    image = message(encoding, [[1] * channels * 4] * 3, 4, padding=2)
    assert np.shares_memory(own(image), np.frombuffer(image.data, np.uint8))


@pytest.mark.skipif(encodings.CvBridge is None, reason="cv_bridge is not installed")
@pytest.mark.parametrize("encoding", sorted(encodings.ENCODINGS))
def test_cv_bridge_gives_the_same_arrays(encoding: str) -> None:
    kind = encodings.ENCODINGS[encoding]
    noise = np.random.default_rng(0).integers(0, 256, (16, 20 * kind.channels * np.dtype(kind.sample).itemsize))
    image = message(encoding, noise.tolist(), 20)
    np.testing.assert_array_equal(own(image), image_to_rgb(image, use_cv_bridge=True))


def without_data(image: Image, count: int) -> Image:
    image.data = image.data[:-count]
    return image


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (message("32FC1", [[0] * 8], 2), "unknown encoding '32FC1'"),
        (message("", [[0] * 6], 2), "unknown encoding ''"),
        (Image(encoding="rgb8", width=4, height=0, step=12), "no pixels"),
        (Image(encoding="rgb8", width=0, height=4), "no pixels"),
        (without_data(message("rgb8", [[0] * 6] * 4, 2), 1), "data holds 23 bytes"),
        (message("rgb8", [[0] * 6] * 4, 3), "step is 6 bytes"),
        (message("mono16", [[0] * 4] * 4, 3), "step is 4 bytes"),
        (message("yuyv", [[0] * 6], 3), "multiple of 2"),
        (message("bayer_rggb8", [[0] * 2] * 2, 2), "at least 4 px"),
    ],
)
def test_what_cannot_be_read_is_named(image: Image, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        own(image)


def test_masks_are_grey_views_and_nothing_else() -> None:
    mask = message("8UC1", [[0, 255, 0], [1, 0, 0]], 3, padding=1)
    np.testing.assert_array_equal(mask_image_to_array(mask), [[0, 255, 0], [1, 0, 0]])
    with pytest.raises(ImageError, match="mono8 or 8UC1, not 'rgb8'"):
        mask_image_to_array(message("rgb8", [[0] * 6], 2))


def test_compressed_images_are_decoded_as_rgb() -> None:
    bgr = np.ascontiguousarray(RGB[..., ::-1].repeat(8, axis=0).repeat(8, axis=1))
    png = CompressedImage(format="png", data=cv2.imencode(".png", bgr)[1].tobytes())
    np.testing.assert_array_equal(compressed_to_rgb(png), bgr[..., ::-1])
    jpeg = CompressedImage(format="rgb8; jpeg compressed bgr8", data=cv2.imencode(".jpg", bgr)[1].tobytes())
    assert compressed_to_rgb(jpeg).shape == (16, 16, 3)
    assert np.abs(compressed_to_rgb(jpeg)[2, 2].astype(int) - [255, 0, 0]).max() < 16


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut off"])
def test_corrupt_compressed_images_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"no data|cannot be decoded"):
        compressed_to_rgb(CompressedImage(format="jpeg", data=data))


@pytest.mark.parametrize(
    ("encoding", "dtype", "shape"),
    [("bgr8", np.uint8, (5, 7, 3)), ("mono16", np.uint16, (5, 7)), ("mono8", bool, (3, 2))],
)
def test_arrays_become_messages(encoding: str, dtype: type, shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = array_to_image(pixels, encoding, Header(frame_id="here"))
    assert (image.header.frame_id, image.encoding, image.height, image.width) == ("here", encoding, *shape[:2])
    assert image.step * image.height == len(image.data) == pixels.nbytes
    np.testing.assert_array_equal(np.frombuffer(image.data, dtype).reshape(shape), pixels)


def test_a_strided_array_is_packed() -> None:
    wide = np.arange(60, dtype=np.uint8).reshape(5, 12)
    image = array_to_image(wide[::2, 3:9], "mono8", Header())
    assert (image.height, image.width, image.step) == (3, 6, 6)
    np.testing.assert_array_equal(mask_image_to_array(image), wide[::2, 3:9])


def test_an_empty_crop_is_an_empty_image() -> None:
    image = array_to_image(np.zeros((0, 0), np.uint8), "mono8", Header())
    assert (image.height, image.width, image.step, len(image.data)) == (0, 0, 0, 0)
