"""Compressed images: formats, limits, Bayer patterns, orientation."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from sam_core import ImageError
from sam_ros.conversions.compressed import compressed_to_rgb
from sam_ros.conversions.image_header import ImageHeader, read_header

# Two rows of two pixels: red, green / blue, a mixed colour.
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], dtype=np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (30, 46, 3), dtype=np.uint8)


def encode(suffix: str, pixels: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(suffix, pixels, parameters)[1].tobytes()


def of(data: bytes, declared: str = "") -> CompressedImage:
    return CompressedImage(format=declared, data=data)


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
    ("data", "header"),
    [
        (encode(".png", NOISE), ImageHeader("png", 46, 30, False, 8)),
        (encode(".png", NOISE[..., 0]), ImageHeader("png", 46, 30, True, 8)),
        (encode(".png", NOISE[..., 0].astype(np.uint16)), ImageHeader("png", 46, 30, True, 16)),
        (encode(".jpg", NOISE), ImageHeader("jpeg", 46, 30, False, 8)),
        (encode(".jpg", NOISE[..., 0]), ImageHeader("jpeg", 46, 30, True, 8)),
        (encode(".jpg", NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), ImageHeader("jpeg", 46, 30, False, 8)),
        (encode(".webp", NOISE, cv2.IMWRITE_WEBP_QUALITY, 50), ImageHeader("webp", 46, 30)),
        (encode(".webp", NOISE, cv2.IMWRITE_WEBP_QUALITY, 101), ImageHeader("webp", 46, 30)),
        (encode(".webp", np.dstack((NOISE, NOISE[..., 0])), cv2.IMWRITE_WEBP_QUALITY, 50), ImageHeader("webp", 46, 30)),
    ],
)
def test_headers_are_read(data: bytes, header: ImageHeader) -> None:
    assert read_header(data) == header
    assert compressed_to_rgb(of(data), max_pixels=46 * 30).shape == (30, 46, 3)
    with pytest.raises(ImageError, match="46 x 30 px are more than 1379"):
        compressed_to_rgb(of(data), max_pixels=46 * 30 - 1)
    for end in range(len(data[:40])):
        with pytest.raises(ImageError, match="cannot be decoded"):
            compressed_to_rgb(of(data[: end + 1]))


def bomb(side: int) -> bytes:
    """Return a PNG of side x side grey pixels in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bomb(8000)
    assert len(data) < 100_000
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="8000 x 8000 px are more than 50000000"):
        compressed_to_rgb(of(data))


def test_markers_without_end_are_given_up() -> None:
    with pytest.raises(ImageError, match="its header is cut off"):
        read_header(b"\xff\xd8" + b"\xff" * 20_000_000)


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".ppm"])
def test_other_formats_are_refused(suffix: str) -> None:
    with pytest.raises(ImageError, match="cannot be decoded: it is none of jpeg, png, webp"):
        compressed_to_rgb(of(encode(suffix, NOISE)))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("pattern", "tile"),
    [
        ("rggb", [[200, 100], [100, 50]]),
        ("bggr", [[50, 100], [100, 200]]),
        ("gbrg", [[100, 50], [200, 100]]),
        ("grbg", [[100, 200], [50, 100]]),
    ],
)
def test_a_compressed_mosaic_is_demosaiced(pattern: str, tile: list[list[int]], suffix: str) -> None:
    mosaic = np.tile(np.array(tile, np.uint8), (8, 8))
    data = encode(suffix, mosaic, cv2.IMWRITE_JPEG_QUALITY, 100) if suffix == ".jpg" else encode(suffix, mosaic)
    kind = "jpeg" if suffix == ".jpg" else "png"
    rgb = compressed_to_rgb(of(data, f"bayer_{pattern}8; {kind} compressed "))
    assert np.abs(rgb.astype(int) - [200, 100, 50]).max() <= 8 * (suffix == ".jpg")
    plain = compressed_to_rgb(of(data, f"mono8; {kind} compressed "))
    assert np.ptp(plain, axis=2).max() == 0, "without the pattern it is grey"


def test_a_mosaic_that_is_in_colours_already_is_left_alone() -> None:
    data = encode(".png", NOISE)
    np.testing.assert_array_equal(compressed_to_rgb(of(data, "bayer_rggb8; png compressed bgr8")), NOISE[..., ::-1])
    tiny = encode(".png", NOISE[:2, :2, 0].copy())
    assert compressed_to_rgb(of(tiny, "bayer_rggb8; png compressed ")).shape == (2, 2, 3)


def test_samples_of_16_bits_keep_their_white_level() -> None:
    grey = np.array([[0, 2048, 4095, 60000]], np.uint16)
    rgb = compressed_to_rgb(of(encode(".png", grey), "mono16; png compressed "), white_level=4095)
    np.testing.assert_array_equal(rgb[0, :, 0], [0, 128, 255, 255])
    assert compressed_to_rgb(of(encode(".png", grey)))[0, :, 2].tolist() == [0, 8, 16, 233]
    colour = np.dstack((grey, grey // 2, grey // 4))
    rgb = compressed_to_rgb(of(encode(".png", colour)), white_level=4095)
    assert rgb[0, 2].tolist() == [64, 127, 255]
    mosaic = np.tile(np.array([[3212, 1606], [1606, 803]], np.uint16), (4, 4))
    rgb = compressed_to_rgb(of(encode(".png", mosaic), "bayer_rggb16; png compressed "), white_level=4095)
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.array([200, 100, 50]), (8, 8, 3)))


def test_the_orientation_in_exif_is_not_applied() -> None:
    data = encode(".jpg", NOISE)
    # A big-endian TIFF with one entry: orientation (0x0112), a short, 6: "turn by 90 degrees".
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (46, 30, 3), "OpenCV would turn it"
    np.testing.assert_array_equal(compressed_to_rgb(of(turned)), compressed_to_rgb(of(data)))


# --- Headers written by hand ------------------------------------------------------------------------------------------


def png(width: int, height: int, bits: int, colours: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", width, height, bits, colours)


def segment(marker: int, body: bytes = b"") -> bytes:
    """Return a JPEG marker with a length and a body."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def start_of_frame(marker: int = 0xC0, bits: int = 8, samples: int = 3) -> bytes:
    return segment(marker, struct.pack(">BHHB", bits, 30, 46, samples))


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + body


@pytest.mark.parametrize(
    ("bits", "colours", "is_grey"),
    [(8, 0, True), (16, 0, True), (1, 0, True), (8, 2, False), (8, 3, False), (8, 4, False)],
)
def test_a_png_says_its_colour_type(bits: int, colours: int, is_grey: bool) -> None:
    assert read_header(png(70_000, 3, bits, colours)) == ImageHeader("png", 70_000, 3, is_grey, bits)


def test_the_size_of_a_png_is_never_negative() -> None:
    """A size beyond 31 bits must not pass below the bound on pixels."""
    assert read_header(png(2**32 - 1, 2**31, 200, 200)) == ImageHeader("png", 2**32 - 1, 2**31, False, 200)


def test_a_png_begins_with_its_header() -> None:
    with pytest.raises(
        ImageError, match=r"^the compressed image \(26 bytes\) cannot be decoded: it is none of jpeg, png"
    ):
        read_header(png(1, 1, 8, 0).replace(b"IHDR", b"IDAT"))
    with pytest.raises(
        ImageError, match=r"^the compressed image \(25 bytes\) cannot be decoded: its header is cut off$"
    ):
        read_header(png(1, 1, 8, 0)[:-1])


@pytest.mark.parametrize("marker", [m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC)])
def test_every_start_of_a_frame_is_one(marker: int) -> None:
    assert read_header(b"\xff\xd8" + start_of_frame(marker)) == ImageHeader("jpeg", 46, 30, False, 8)


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC, 0xD8, 0xDB, 0xE0, 0xFE, 0x02, 0xBF])
def test_other_segments_are_passed_over_by_their_length(marker: int) -> None:
    data = b"\xff\xd8" + segment(marker, b"\xff\xc0 looks like a frame") + segment(marker) + start_of_frame()
    assert read_header(data) == ImageHeader("jpeg", 46, 30, False, 8)


@pytest.mark.parametrize("marker", [0x01, 0xD0, 0xD7])
def test_markers_without_a_length_and_fill_bytes_are_passed_over(marker: int) -> None:
    data = b"\xff\xd8" + bytes((0xFF, marker, 0xFF, 0xFF, 0xFF, marker, 0xFF)) + start_of_frame()
    assert read_header(data) == ImageHeader("jpeg", 46, 30, False, 8)


@pytest.mark.parametrize(("samples", "bits", "is_grey"), [(1, 8, True), (3, 8, False), (4, 8, False), (1, 12, True)])
def test_a_jpeg_says_its_samples_and_their_bits(samples: int, bits: int, is_grey: bool) -> None:
    data = memoryview(b"\xff\xd8" + start_of_frame(0xC1, bits, samples))
    assert read_header(data) == ImageHeader("jpeg", 46, 30, is_grey, bits)


def test_what_is_no_marker_ends_a_jpeg() -> None:
    with pytest.raises(ImageError, match="its header is cut off") as refused:
        read_header(b"\xff\xd8\x00" + start_of_frame())
    assert str(refused.value.__cause__) == "no marker"


def test_as_many_markers_are_read_as_an_image_may_have() -> None:
    """Each fill byte counts, and so does the frame's own marker."""
    assert read_header(b"\xff\xd8" + b"\xff" * 9_999 + start_of_frame()).width == 46
    with pytest.raises(ImageError) as refused:
        read_header(b"\xff\xd8" + b"\xff" * 10_000 + start_of_frame())
    assert str(refused.value.__cause__) == "no frame"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (webp(b"VP8X", b"\0" * 4 + (70_000).to_bytes(3, "little") + (299).to_bytes(3, "little")), (70_001, 300)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 16_383 | 299 << 14 | 1 << 28)), (16_384, 300)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 0)), (1, 1)),
        (webp(b"VP8 ", b"\0" * 6 + struct.pack("<HH", 16_383 | 1 << 14, 300 | 2 << 14)), (16_383, 300)),
    ],
)
def test_a_webp_says_its_size_by_the_kind_of_its_first_chunk(data: bytes, size: tuple[int, int]) -> None:
    assert read_header(data) == ImageHeader("webp", *size, is_grey=False, bits=8)


def test_a_webp_of_an_unknown_chunk_is_refused() -> None:
    with pytest.raises(ImageError, match="its header is cut off") as refused:
        read_header(webp(b"ANIM", b"\0" * 20))
    assert str(refused.value.__cause__) == "no known chunk"
