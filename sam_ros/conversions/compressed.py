"""Decode sensor_msgs/CompressedImage to uint8 RGB arrays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_core import ImageError
from sam_ros.conversions.encodings import ENCODINGS, MAX_PIXELS, RgbImage, check_size, to_rgb
from sam_ros.conversions.image_header import ImageHeader, read_header

if TYPE_CHECKING:  # any object with the message's fields will do, so it works without ROS
    from sensor_msgs.msg import CompressedImage

__all__ = ["compressed_to_rgb"]

_BAYER = re.compile(r"(bayer_(?:rggb|bggr|gbrg|grbg))(?:8|16)\b")


def compressed_to_rgb(image: CompressedImage, *, max_pixels: int = MAX_PIXELS, white_level: float = 0.0) -> RgbImage:
    """Decode a JPEG, PNG or WebP image as RGB.

    Grey images that were a Bayer mosaic are demosaiced: image_transport names the pattern at the beginning of `format`,
    e.g. "bayer_rggb8; jpeg compressed ". The orientation in EXIF data is not applied, as CameraInfo and other nodes
    mean the sensor's rows and columns.

    Args:
        image: The message. Its `format` is not trusted but for the Bayer pattern: the data say what they are.
        max_pixels: Larger images are refused before they are decoded.
        white_level: Value of 16-bit samples that becomes white; 0 for 65535.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        ImageError: The data are empty, of another format, too large, or cannot be decoded.
    """
    data = np.frombuffer(image.data, dtype=np.uint8)
    if data.size == 0:
        raise ImageError("the compressed image holds no data")
    header = read_header(data.data)
    check_size(header.width, header.height, max_pixels)
    pixels = _decode(data, header)
    encoding = _encoding(pixels, image.format)
    return to_rgb(pixels, encoding, white_level=white_level)


def _decode(data: NDArray[np.uint8], header: ImageHeader) -> NDArray[Any]:
    """Return the samples as OpenCV orders them: (H, W) or BGR (H, W, 3), of 8 or 16 bits."""
    flags = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_GRAYSCALE if header.is_grey else cv2.IMREAD_COLOR)
    if header.bits > 8:
        flags |= cv2.IMREAD_ANYDEPTH
    what = f"the compressed image ({header.format}, {header.width} x {header.height} px, {data.size} bytes)"
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ImageError(f"{what} cannot be decoded: {error}") from error
    if pixels is None:
        raise ImageError(f"{what} cannot be decoded")
    return pixels


def _encoding(pixels: NDArray[Any], declared: str) -> str:
    """Name the encoding of decoded samples."""
    bits = "16" if pixels.dtype == np.uint16 else "8"
    if pixels.ndim == 3:
        return "bgr" + bits
    bayer = _BAYER.match(declared) if min(pixels.shape) >= ENCODINGS["bayer_rggb8"].smallest else None
    return bayer[1] + bits if bayer else "mono" + bits
