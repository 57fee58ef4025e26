"""Convert between sensor_msgs images and uint8 RGB arrays.

`image_to_rgb` and `compressed_to_rgb` read messages, `array_to_image` writes one. Encodings that already hold red,
green and blue bytes in this order are returned as a view of the message's data; the others cost one OpenCV conversion.
Encodings that need arithmetic (16 bit, YUV, Bayer) go through cv_bridge where it is installed; the arrays are the same.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sam_core import ImageError

try:
    from cv_bridge import CvBridge, CvBridgeError
except ImportError:  # not on PyPI: the pip environment never has it
    CvBridge = None

__all__ = ["ENCODINGS", "array_to_image", "compressed_to_rgb", "image_to_rgb", "mask_image_to_array"]

RgbImage = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Encoding:
    """Describe how an encoding lies in memory and how it becomes RGB.

    Attributes:
        channels: Samples a pixel has in memory (2 for 4:2:2 YUV: luma and one chroma sample).
        sample: NumPy type of one sample, native byte order.
        to_rgb: From an array (H, W, channels), or (H, W) for one channel, to uint8 RGB (H, W, 3).
        width_multiple: The width must be a multiple of this (4:2:2 chroma is shared by two pixels).
        smallest: Least width and height that can be converted.
        arithmetic: True where cv_bridge does the conversion if it is installed.
    """

    channels: int
    sample: type[np.unsignedinteger[Any]]
    to_rgb: Callable[[NDArray[Any]], NDArray[Any]]
    width_multiple: int = 1
    smallest: int = 1
    arithmetic: bool = False


def _colour(code: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a conversion by OpenCV's colour code."""
    return lambda pixels: cv2.cvtColor(pixels, code)


def _mono16_to_rgb(pixels: NDArray[np.uint16]) -> NDArray[Any]:
    """Map the full 16-bit range linearly to 8 bit: round(value * 255 / 65535).

    This is what cv_bridge does. Unlike stretching to each frame's extremes it keeps brightness steady over time.
    """
    return cv2.cvtColor(cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0), cv2.COLOR_GRAY2RGB)


def _bayer(code: int) -> Encoding:
    # OpenCV names a pattern by the second and third pixel of its second row, ROS by the first two rows: RGGB is "BG".
    return Encoding(1, np.uint8, _colour(code), smallest=4, arithmetic=True)


_UYVY = Encoding(2, np.uint8, _colour(cv2.COLOR_YUV2RGB_UYVY), width_multiple=2, arithmetic=True)
_YUYV = Encoding(2, np.uint8, _colour(cv2.COLOR_YUV2RGB_YUY2), width_multiple=2, arithmetic=True)
_BGR8 = Encoding(3, np.uint8, _colour(cv2.COLOR_BGR2RGB))
_MONO8 = Encoding(1, np.uint8, _colour(cv2.COLOR_GRAY2RGB))

ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, np.uint8, lambda pixels: pixels),
    "rgba8": Encoding(4, np.uint8, lambda pixels: pixels[..., :3]),
    "bgr8": _BGR8,
    "bgra8": Encoding(4, np.uint8, _colour(cv2.COLOR_BGRA2RGB)),
    "8UC3": _BGR8,  # names no colours; cv_bridge writes OpenCV's BGR arrays under this name
    "mono8": _MONO8,
    "8UC1": _MONO8,
    "mono16": Encoding(1, np.uint16, _mono16_to_rgb, arithmetic=True),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2RGB),
}


def image_to_rgb(image: Image, *, use_cv_bridge: bool = CvBridge is not None) -> RgbImage:
    """Read an image message as RGB.

    Args:
        image: The message. Rows may be padded (`step`), 16-bit samples may be big-endian (`is_bigendian`).
        use_cv_bridge: Let cv_bridge do the arithmetic conversions; only where it is installed.

    Returns:
        uint8 array (H, W, 3). For rgb8 and rgba8 it is a view of the message's data: don't write to it.

    Raises:
        ImageError: The encoding is unknown, or size, step and data do not fit each other.
    """
    encoding = ENCODINGS.get(image.encoding)
    if encoding is None:
        raise ImageError(f"unknown encoding '{image.encoding}'; known are {', '.join(ENCODINGS)}")
    pixels = _pixels(image, encoding)
    if encoding.arithmetic and use_cv_bridge and image.step % encoding.channels == 0:
        with suppress(CvBridgeError):  # an older cv_bridge does not know every name, "yuyv" for one
            return CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8")
    return encoding.to_rgb(pixels)


def _pixels(image: Image, encoding: Encoding) -> NDArray[Any]:
    """View the message's data as (H, W, channels), or (H, W) for one channel, after checking that it fits.

    16-bit samples of the other byte order are copied into native order.
    """
    height, width, step = image.height, image.width, image.step
    if height == 0 or width == 0:
        raise ImageError(f"the image has no pixels: it is {width} x {height} px")
    if min(width, height) < encoding.smallest:
        raise ImageError(
            f"{image.encoding} needs at least {encoding.smallest} px each way, the image is {width} x {height} px"
        )
    if width % encoding.width_multiple:
        raise ImageError(
            f"{image.encoding} needs a multiple of {encoding.width_multiple} px a row, the image is {width} px wide"
        )
    sample = np.dtype(encoding.sample)
    row = width * encoding.channels * sample.itemsize
    if step < row:
        raise ImageError(f"step is {step} bytes, but a row of {width} {image.encoding} pixels takes {row}")
    if len(image.data) < step * height:
        raise ImageError(
            f"data holds {len(image.data)} bytes, but step x height is {step} x {height} = {step * height}"
        )

    data = np.frombuffer(image.data, dtype=np.uint8, count=step * height)
    rows = data.reshape(height, step)[:, :row]
    if sample.itemsize > 1:
        rows = (
            np.ascontiguousarray(rows)
            .view(sample.newbyteorder(">" if image.is_bigendian else "<"))
            .astype(sample, copy=False)
        )
    return rows if encoding.channels == 1 else rows.reshape(height, width, encoding.channels)


def mask_image_to_array(image: Image) -> NDArray[np.uint8]:
    """Read a mask message (mono8 or 8UC1) as a view uint8 (H, W).

    Raises:
        ImageError: The encoding is another, or size, step and data do not fit each other.
    """
    if image.encoding not in ("mono8", "8UC1"):
        raise ImageError(f"a mask must be mono8 or 8UC1, not '{image.encoding}'")
    return _pixels(image, _MONO8)


def compressed_to_rgb(image: CompressedImage) -> RgbImage:
    """Decode a compressed image (JPEG, PNG and what else OpenCV reads) as RGB.

    Args:
        image: The message. Its `format` is not trusted: the data say what they are.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        ImageError: The data are empty or cannot be decoded.
    """
    data = np.frombuffer(image.data, dtype=np.uint8)
    if data.size == 0:
        raise ImageError("the compressed image holds no data")
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(
            f"the compressed image ('{image.format}', {data.size} bytes) cannot be decoded: {error}"
        ) from error
    if pixels is None:
        raise ImageError(f"the compressed image ('{image.format}', {data.size} bytes) cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def array_to_image(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Write an array as an image message.

    Args:
        pixels: (H, W) or (H, W, channels), with the sample type of the encoding.
        encoding: Name of the encoding, e.g. "bgr8" or "mono16".
        header: Put into the message as it is (shared, not copied).

    Returns:
        A message without row padding, in the byte order of this machine.
    """
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
