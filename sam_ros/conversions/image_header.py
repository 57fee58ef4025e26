"""Read size and samples of a JPEG, PNG or WebP image from its header, before anything is decoded.

A few kilobytes can decode to gigabytes; only the header tells in advance. Sources: PNG specification 11.2.2 (IHDR),
ITU-T T.81 B.2.2 (frame header), RFC 9649 (WebP).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sam_core import ImageError

__all__ = ["FORMATS", "ImageHeader", "read_header"]

FORMATS = ("jpeg", "png", "webp")

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # TEM and restart markers
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, but for tables and reserved markers
_MOST_MARKERS = 10_000  # before the frame: hostile data must not keep the reader busy
_PNG_GREY = 0  # colour type


@dataclass(frozen=True)
class ImageHeader:
    """What a compressed image says of itself.

    Attributes:
        format: One of `FORMATS`.
        width: px.
        height: px.
        is_grey: Whether a pixel is one sample, without colours or transparency.
        bits: Bits of a sample.
    """

    format: str
    width: int
    height: int
    is_grey: bool = False
    bits: int = 8


def read_header(data: bytes | memoryview) -> ImageHeader:
    """Return the header of a compressed image.

    Raises:
        ImageError: The data are of another format, or end before the image's size.
    """
    start = bytes(data[:32])
    try:
        if start.startswith(_PNG) and start[12:16] == b"IHDR":
            width, height, bits, colours = struct.unpack_from(">IIBB", start, 16)
            return ImageHeader("png", width, height, colours == _PNG_GREY, bits)
        if start.startswith(b"\xff\xd8"):
            return _read_jpeg(data)
        if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
            return ImageHeader("webp", *_webp_size(start))
    except (struct.error, IndexError) as error:
        raise ImageError(
            f"the compressed image ({len(data)} bytes) cannot be decoded: its header is cut off"
        ) from error
    raise ImageError(f"the compressed image ({len(data)} bytes) cannot be decoded: it is none of {', '.join(FORMATS)}")


def _read_jpeg(data: bytes | memoryview) -> ImageHeader:
    """Go from marker to marker until a frame begins."""
    place = 2
    for _ in range(_MOST_MARKERS):
        if data[place] != 0xFF:
            raise IndexError("no marker")
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            place += 2
        elif marker in _JPEG_FRAMES:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, place + 4)
            return ImageHeader("jpeg", width, height, samples == 1, bits)
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    raise IndexError("no frame")


def _webp_size(start: bytes) -> tuple[int, int]:
    kind = start[12:16]
    if kind == b"VP8X":  # the canvas, less one, in 24 bits each
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    if kind == b"VP8L":  # less one, in 14 bits each
        (bits,) = struct.unpack_from("<I", start, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", start, 26)
        return width & 0x3FFF, height & 0x3FFF  # the other two bits are for upscaling
    raise IndexError("no known chunk")
