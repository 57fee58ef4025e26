"""Convert between sensor_msgs/Image and uint8 RGB arrays.

`image_to_rgb` reads a message, `array_to_image` writes one. Encodings that already hold red, green and blue bytes in
this order are returned as a view of the message's data; the others cost one OpenCV conversion. 4:2:2 YUV and 8-bit
Bayer go through cv_bridge where it is installed; the arrays are the same.

Samples of 16 bits and floating-point samples become bytes by one fixed scale: 0 is black and `white_level` white. A
stretch to each image's extremes would make the brightness flicker.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core import ImageError

if TYPE_CHECKING:  # reading takes any object with the message's fields, so it works without ROS
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:  # not on PyPI: the pip environment never has it
    CvBridge = None

__all__ = [
    "ENCODINGS",
    "LARGEST_PIXEL",
    "MAX_PIXELS",
    "RgbImage",
    "array_to_image",
    "check_size",
    "image_to_rgb",
    "mask_image_to_array",
    "to_rgb",
    "white_of",
]

RgbImage = NDArray[np.uint8]  # (H, W, 3)
LARGEST_PIXEL = 8  # bytes: four samples of 16 bits
MAX_PIXELS = 50_000_000  # of an image, unless the caller sets another limit


@dataclass(frozen=True)
class Encoding:
    """Describe how an encoding lies in memory and how it becomes RGB.

    Attributes:
        channels: Samples a pixel has in memory (2 for 4:2:2 YUV: luma and one chroma sample).
        sample: NumPy type of one sample, native byte order: uint8, uint16 or float32.
        to_rgb: From a uint8 array (H, W, channels), or (H, W) for one channel, to RGB (H, W, 3).
        width_multiple: The width must be a multiple of this (chroma is shared by two pixels of a row).
        height_multiple: The height, likewise.
        smallest: Least width and height that can be converted.
        chroma: For 4:2:0 YUV, how its chroma follows below the luma, half as many rows: "interleaved", or "planar" for
            two planes whose rows take half a step.
        cv_bridge: Whether cv_bridge does the conversion if it is installed.
    """

    channels: int
    sample: type[np.generic]
    to_rgb: Callable[[NDArray[Any]], NDArray[Any]]
    width_multiple: int = 1
    height_multiple: int = 1
    smallest: int = 1
    chroma: str = ""
    cv_bridge: bool = False


def _colour(code: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a conversion by OpenCV's colour code."""
    return lambda pixels: cv2.cvtColor(pixels, code)


def _bayer(code: int, sample: type[np.generic] = np.uint8) -> Encoding:
    # OpenCV names a pattern by the second and third pixel of its second row, ROS by the first two rows: RGGB is "BG".
    return Encoding(1, sample, _colour(code), smallest=4, cv_bridge=sample is np.uint8)


def _yuv420(code: int, chroma: str) -> Encoding:
    return Encoding(1, np.uint8, _colour(code), width_multiple=2, height_multiple=2, chroma=chroma)


_UYVY = Encoding(2, np.uint8, _colour(cv2.COLOR_YUV2RGB_UYVY), width_multiple=2, cv_bridge=True)
_YUYV = Encoding(2, np.uint8, _colour(cv2.COLOR_YUV2RGB_YUY2), width_multiple=2, cv_bridge=True)
_I420 = _yuv420(cv2.COLOR_YUV2RGB_I420, "planar")
_RGB8 = Encoding(3, np.uint8, lambda pixels: pixels)
_BGR8 = Encoding(3, np.uint8, _colour(cv2.COLOR_BGR2RGB))
_RGBA8 = Encoding(4, np.uint8, lambda pixels: pixels[..., :3])
_BGRA8 = Encoding(4, np.uint8, _colour(cv2.COLOR_BGRA2RGB))
_MONO8 = Encoding(1, np.uint8, _colour(cv2.COLOR_GRAY2RGB))
_MONO16 = replace(_MONO8, sample=np.uint16)

# 8UC3 and the like name no colours; cv_bridge writes OpenCV's BGR arrays under these names.
ENCODINGS: dict[str, Encoding] = {
    "rgb8": _RGB8,
    "rgba8": _RGBA8,
    "bgr8": _BGR8,
    "bgra8": _BGRA8,
    "8UC3": _BGR8,
    "8UC4": _BGRA8,
    "mono8": _MONO8,
    "8UC1": _MONO8,
    "rgb16": replace(_RGB8, sample=np.uint16),
    "rgba16": replace(_RGBA8, sample=np.uint16),
    "bgr16": replace(_BGR8, sample=np.uint16),
    "bgra16": replace(_BGRA8, sample=np.uint16),
    "16UC3": replace(_BGR8, sample=np.uint16),
    "16UC4": replace(_BGRA8, sample=np.uint16),
    "mono16": _MONO16,
    "16UC1": _MONO16,
    "32FC1": replace(_MONO8, sample=np.float32),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _yuv420(cv2.COLOR_YUV2RGB_NV12, "interleaved"),
    "nv21": _yuv420(cv2.COLOR_YUV2RGB_NV21, "interleaved"),
    "yuv420": _I420,
    "i420": _I420,
    **{
        f"bayer_{pattern}{bits}": _bayer(code, sample)
        for bits, sample in ((8, np.uint8), (16, np.uint16))
        for pattern, code in (
            ("rggb", cv2.COLOR_BayerBG2RGB),
            ("bggr", cv2.COLOR_BayerRG2RGB),
            ("gbrg", cv2.COLOR_BayerGR2RGB),
            ("grbg", cv2.COLOR_BayerGB2RGB),
        )
    },
}


def white_of(sample: np.dtype[Any] | type[np.generic], white_level: float) -> float:
    """Return the value that becomes white: `white_level`, or where it is 0 the largest integer, or 1.0 for floats."""
    if white_level:
        return white_level
    kind = np.dtype(sample)
    return 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image that has no pixels, or too many.

    Raises:
        ImageError: It has.
    """
    if height == 0 or width == 0:
        raise ImageError(f"the image has no pixels: it is {width} x {height} px")
    if width * height > max_pixels:
        raise ImageError(
            f"the image is too large: {width} x {height} px are more than {max_pixels} (parameter max_image_pixels)"
        )


def image_to_rgb(
    image: Image,
    *,
    max_pixels: int = MAX_PIXELS,
    white_level: float = 0.0,
    use_cv_bridge: bool = CvBridge is not None,
) -> RgbImage:
    """Read an image message as RGB.

    Args:
        image: The message. Rows may be padded (`step`), longer samples may be big-endian (`is_bigendian`).
        max_pixels: Larger images are refused.
        white_level: Value of 16-bit and floating-point samples that becomes white; 0 for 65535, or 1.0.
        use_cv_bridge: Let cv_bridge do the arithmetic conversions; only where it is installed.

    Returns:
        uint8 array (H, W, 3). For rgb8 and rgba8 it is a view of the message's data: don't write to it.

    Raises:
        ImageError: The encoding is unknown, the image too large, or size, step and data do not fit each other.
    """
    encoding = ENCODINGS.get(image.encoding)
    if encoding is None:
        raise ImageError(f"unknown encoding '{image.encoding}'; known are {', '.join(ENCODINGS)}")
    check_size(image.width, image.height, max_pixels)
    pixels = _pixels(image, encoding)
    if encoding.cv_bridge and use_cv_bridge and image.step % encoding.channels == 0:
        with suppress(CvBridgeError):  # an older cv_bridge does not know every name, "yuyv" for one
            return CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8")
    return to_rgb(pixels, image.encoding, white_level=white_level)


def to_rgb(pixels: NDArray[Any], encoding: str, *, white_level: float = 0.0) -> RgbImage:
    """Convert the samples of an encoding to RGB.

    Args:
        pixels: (H, W) or (H, W, channels); 4:2:0 YUV has its chroma as H / 2 further rows.
        encoding: A name in `ENCODINGS`.
        white_level: As in `image_to_rgb`.

    Returns:
        uint8 array (H, W, 3).
    """
    return ENCODINGS[encoding].to_rgb(pixels if pixels.dtype == np.uint8 else _to_8_bit(pixels, white_level))


def _to_8_bit(pixels: NDArray[Any], white_level: float) -> NDArray[np.uint8]:
    """Scale samples linearly, 0 to 0 and white to 255, rounded; NaN becomes black."""
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=np.inf, neginf=0.0).clip(0, white_of(pixels.dtype, white_level))
    return cv2.convertScaleAbs(pixels, alpha=255.0 / white_of(pixels.dtype, white_level))  # type: ignore[return-value]


def _pixels(image: Image, encoding: Encoding) -> NDArray[Any]:
    """View the message's data as (H, W, channels), or (H, W) for one channel, after checking that it fits.

    Longer samples of the other byte order are copied into native order, and the chroma of 4:2:0 YUV is appended.
    """
    height, width, step = image.height, image.width, image.step
    if min(width, height) < encoding.smallest:
        raise ImageError(
            f"{image.encoding} needs at least {encoding.smallest} px each way, the image is {width} x {height} px"
        )
    if width % encoding.width_multiple:
        raise ImageError(
            f"{image.encoding} needs a multiple of {encoding.width_multiple} px a row, the image is {width} px wide"
        )
    if height % encoding.height_multiple:
        raise ImageError(
            f"{image.encoding} needs a multiple of {encoding.height_multiple} rows, the image is {height} px high"
        )
    sample = np.dtype(encoding.sample)
    row = width * encoding.channels * sample.itemsize
    if step < row:
        raise ImageError(f"step is {step} bytes, but a row of {width} {image.encoding} pixels takes {row}")
    lines = height * 3 // 2 if encoding.chroma else height
    if len(image.data) < step * lines:
        chroma = " with chroma" if encoding.chroma else ""
        raise ImageError(
            f"data holds {len(image.data)} bytes, but step x height{chroma} is {step} x {lines} = {step * lines}"
        )

    data = np.frombuffer(image.data, dtype=np.uint8, count=step * lines)
    if encoding.chroma == "planar":
        return _planar_rows(data, height, width, step)
    rows = data.reshape(lines, step)[:, :row]
    if sample.itemsize > 1:
        rows = (
            np.ascontiguousarray(rows)
            .view(sample.newbyteorder(">" if image.is_bigendian else "<"))
            .astype(sample, copy=False)
        )
    return rows if encoding.channels == 1 else rows.reshape(height, width, encoding.channels)


def _planar_rows(data: NDArray[np.uint8], height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Return I420 without padding as OpenCV takes it, (H * 3 / 2, W): luma, then two chroma rows in each row."""
    if step % 2:
        raise ImageError(f"the chroma of yuv420 takes half a step a row, so step must be even, not {step}")
    luma = data[: height * step].reshape(height, step)[:, :width]
    chroma = data[height * step :].reshape(height, step // 2)[:, : width // 2]
    return np.concatenate((luma, chroma.reshape(height // 2, width)))


def mask_image_to_array(image: Image) -> NDArray[np.uint8]:
    """Read a mask message (mono8 or 8UC1) as a view uint8 (H, W).

    Raises:
        ImageError: The encoding is another, or size, step and data do not fit each other.
    """
    if image.encoding not in ("mono8", "8UC1"):
        raise ImageError(f"a mask must be mono8 or 8UC1, not '{image.encoding}'")
    if image.height == 0 or image.width == 0:
        raise ImageError(f"the mask has no pixels: it is {image.width} x {image.height} px")
    return _pixels(image, _MONO8)


def array_to_image(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Write an array as an image message.

    Args:
        pixels: (H, W) or (H, W, channels), with the sample type of the encoding.
        encoding: Name of the encoding, e.g. "bgr8" or "mono16".
        header: Put into the message as it is (shared, not copied).

    Returns:
        A message without row padding, in the byte order of this machine.
    """
    from sensor_msgs.msg import Image

    image = Image()
    image.header = header
    image.height, image.width = pixels.shape[:2]
    image.encoding = encoding
    image.is_bigendian = int(sys.byteorder == "big")
    image.step = pixels.nbytes // pixels.shape[0] if pixels.shape[0] else 0
    image.data = to_bytes(pixels)
    return image


def to_bytes(pixels: NDArray[Any]) -> array.array[int]:
    """Copy an array into the one type that rclpy assigns to a `uint8[]` field without looking at every element."""
    data = array.array("B")  # whose constructor looks at every element, too
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return data
