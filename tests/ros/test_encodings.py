from __future__ import annotations

import array

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_core import ImageError
from sam_ros.conversions import encodings
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.encodings import array_to_image, image_to_rgb, mask_image_to_array

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


def of_samples(encoding: str, samples: np.ndarray, *, padding: int = 0, big_endian: bool = False) -> Image:
    """Write an image of samples (H, W) or (H, W, channels) of any type."""
    order = samples.astype(samples.dtype.newbyteorder(">" if big_endian else "<"))
    rows = [list(row.tobytes()) for row in order]
    return message(encoding, rows, samples.shape[1], padding=padding, big_endian=big_endian)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "bgr", "alpha"),
    [
        ("rgb16", False, False),
        ("bgr16", True, False),
        ("16UC3", True, False),
        ("rgba16", False, True),
        ("bgra16", True, True),
        ("16UC4", True, True),
        ("8UC4", True, True),
    ],
)
def test_more_colours_come_out_as_rgb(encoding: str, bgr: bool, alpha: bool, big_endian: bool) -> None:
    samples = RGB[..., ::-1] if bgr else RGB
    if alpha:
        samples = np.dstack((samples, np.full((2, 2), 77, np.uint8)))
    if encoding != "8UC4":
        samples = samples.astype(np.uint16) * 257  # 255 * 257 = 65535
    np.testing.assert_array_equal(own(of_samples(encoding, samples, padding=3, big_endian=big_endian)), RGB)


@pytest.mark.parametrize(
    ("white", "values"),
    [(1023, [0, 2, 4, 512, 1023]), (4095, [0, 8, 16, 2049, 4095]), (16383, [0, 32, 64, 8198, 16383])],
)
@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "rgb16"])
def test_the_white_level_scales_cameras_of_fewer_bits(encoding: str, white: int, values: list[int]) -> None:
    row = np.array([values], np.uint16)
    samples = row if encoding != "rgb16" else np.dstack([row] * 3)
    rgb = image_to_rgb(of_samples(encoding, samples), white_level=white)
    np.testing.assert_array_equal(rgb[0, :, 1], [0, round(values[1] * 255 / white), 1, 128, 255])
    over = image_to_rgb(of_samples(encoding, samples), white_level=values[3])
    assert over[0, 4].tolist() == [255] * 3, "values above white stay white"
    dark = own(of_samples(encoding, samples))
    assert dark.max() == round(white * 255 / 65535), "and without it the full range is meant"


@pytest.mark.parametrize("big_endian", [False, True])
def test_floats_go_from_0_to_1_or_to_the_white_level(big_endian: bool) -> None:
    samples = np.array([[0.0, 0.5, 1.0, 3.0, np.inf, -2.0, -np.inf, np.nan]], np.float32)
    image = of_samples("32FC1", samples, big_endian=big_endian)
    np.testing.assert_array_equal(own(image)[0, :, 0], [0, 128, 255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(image_to_rgb(image, white_level=6.0)[0, :, 2], [0, 21, 42, 128, 255, 0, 0, 0])


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "yuv420", "i420"])
def test_yuv420_has_half_the_chroma(encoding: str, padding: int) -> None:
    # BT.601, video range, 4 x 4 px: grey at the left (Y 126), red at the right (Y 81, U 90, V 240).
    luma = [[126, 126, 81, 81]] * 4
    u, v = [128, 90], [128, 240]
    if encoding in ("nv12", "nv21"):
        pairs = zip(u, v, strict=True) if encoding == "nv12" else zip(v, u, strict=True)
        chroma = [[sample for pair in pairs for sample in pair]] * 2
        rows = [row + [99] * padding for row in luma + chroma]
    else:  # two rows of two samples for each plane, each row padded by half
        half = [99] * (padding // 2)
        rows = [row + [99] * padding for row in luma] + [plane + half for plane in (u, u, v, v)]
    image = Image(encoding=encoding, height=4, width=4, step=4 + padding)
    image.data = array.array("B", [sample for row in rows for sample in row])
    expected = np.broadcast_to(np.array([[128] * 3, [128] * 3, [254, 0, 0], [254, 0, 0]]), (4, 4, 3))
    assert np.abs(own(image).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("white", [0, 4095])
@pytest.mark.parametrize(
    ("encoding", "tile"),
    [
        ("bayer_rggb16", [[200, 100], [100, 50]]),
        ("bayer_bggr16", [[50, 100], [100, 200]]),
        ("bayer_gbrg16", [[100, 50], [200, 100]]),
        ("bayer_grbg16", [[100, 200], [50, 100]]),
    ],
)
def test_bayer_of_16_bits(encoding: str, tile: list[list[int]], white: int) -> None:
    scale = (white or 65535) / 255
    mosaic = (np.tile(np.array(tile), (3, 4)) * scale).round().astype(np.uint16)
    rgb = image_to_rgb(of_samples(encoding, mosaic, padding=4), white_level=white)
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.array([200, 100, 50], np.uint8), (6, 8, 3)))


def test_raw_images_have_a_pixel_limit() -> None:
    image = message("mono8", [[7] * 10] * 4, 10)
    assert image_to_rgb(image, max_pixels=40).shape == (4, 10, 3)
    with pytest.raises(ImageError, match=r"10 x 4 px are more than 39 \(parameter max_image_pixels\)"):
        image_to_rgb(image, max_pixels=39)


def test_the_first_dark_image_of_16_bits_is_remarked_once() -> None:
    remarks: list[str] = []
    dark = of_samples("mono16", np.full((2, 2), 1023, np.uint16))
    decode = ImageDecoder(warn=remarks.append)
    for image in (message("mono8", [[0, 0]], 2), dark, dark):
        decode(image)
    assert len(remarks) == 1
    assert "mono16 image is nearly black" in remarks[0]
    assert "white_level" in remarks[0]
    for quiet, image in (
        (ImageDecoder(white_level=1023, warn=remarks.append), dark),
        (ImageDecoder(warn=remarks.append), of_samples("mono16", np.full((2, 2), 40000, np.uint16))),
    ):
        quiet(image)
    assert len(remarks) == 1


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("rgba8", 4)])
def test_rgb_is_a_view_of_the_message(encoding: str, channels: int) -> None:
    image = message(encoding, [[1] * channels * 4] * 3, 4, padding=2)
    assert np.shares_memory(own(image), np.frombuffer(image.data, np.uint8))


@pytest.mark.skipif(encodings.CvBridge is None, reason="cv_bridge is not installed")
@pytest.mark.parametrize("encoding", sorted(encodings.ENCODINGS))
def test_cv_bridge_gives_the_same_arrays(encoding: str) -> None:
    kind = encodings.ENCODINGS[encoding]
    if kind.chroma or not kind.cv_bridge:
        pytest.skip("cv_bridge does not convert it")
    noise = np.random.default_rng(0).integers(0, 256, (16, 20 * kind.channels * np.dtype(kind.sample).itemsize))
    image = message(encoding, noise.tolist(), 20)
    np.testing.assert_array_equal(own(image), image_to_rgb(image, use_cv_bridge=True))


def without_data(image: Image, count: int) -> Image:
    image.data = image.data[:-count]
    return image


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (message("32FC2", [[0] * 16], 2), "unknown encoding '32FC2'"),
        (message("nv12", [[0] * 4] * 3, 4), "multiple of 2 rows"),
        (message("nv12", [[0] * 3] * 3, 3), "multiple of 2 px a row"),
        (message("nv21", [[0] * 4] * 4, 4), "step x height with chroma is 4 x 6 = 24"),
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
