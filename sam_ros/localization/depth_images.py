"""Decode depth images: 16UC1 in mm, 32FC1 in m, and image_transport's compressedDepth of both."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from sam_core import ImageError
from sam_ros.conversions.encodings import MAX_PIXELS, check_size
from sam_ros.conversions.image_header import read_header

__all__ = ["depth_of"]

_SAMPLES = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
# compressed_depth_image_transport puts this before the PNG: an enumeration, and two parameters of the quantisation.
_CONFIG = struct.Struct("<iff")


def depth_of(message: Image | CompressedImage, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Return a message's depth in m, float32 (H, W); 0 or NaN where there is none.

    Raises:
        ImageError: Its encoding is no depth's, it is too large, or size, step and data do not fit each other.
    """
    if isinstance(message, CompressedImage):
        return _decompress(message, max_pixels)
    sample = _SAMPLES.get(message.encoding)
    if sample is None:
        raise ImageError(f"a depth image must be 16UC1 (mm) or 32FC1 (m), not '{message.encoding[:40]}'")
    width, height, step = message.width, message.height, message.step
    check_size(width, height, max_pixels)
    order = np.dtype(sample).newbyteorder(">" if message.is_bigendian else "<")
    row = width * order.itemsize
    if step < row or len(message.data) < step * height:
        raise ImageError(
            f"the depth image of {width} x {height} px in {message.encoding} has a step of {step} bytes and "
            f"{len(message.data)} bytes of data, which does not hold it"
        )
    data = np.frombuffer(message.data, np.uint8, step * height).reshape(height, step)[:, :row]
    return _metres(np.ascontiguousarray(data).view(order))


def _metres(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    if samples.dtype.kind == "u":
        return samples.astype(np.float32) * np.float32(1e-3)
    return samples.astype(np.float32, copy=False)


def _decompress(message: CompressedImage, max_pixels: int) -> NDArray[np.float32]:
    data = bytes(message.data)
    what = f"the compressed depth image ('{message.format[:40]}', {len(data)} bytes)"
    if "compressedDepth" not in message.format:
        raise ImageError(f"{what} is not of compressedDepth; JPEG, for one, would spoil depth")
    if "rvl" in message.format.lower():
        raise ImageError(f"{what} is packed as RVL, which is not supported: set the driver to png")
    if len(data) <= _CONFIG.size:
        raise ImageError(f"{what} is cut off")
    _, a, b = _CONFIG.unpack_from(data)
    header = read_header(data[_CONFIG.size :])
    check_size(header.width, header.height, max_pixels)
    try:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8, offset=_CONFIG.size), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{what} cannot be decoded: {error}") from error
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 2:
        raise ImageError(f"{what} holds no PNG of 16 bits")
    if not message.format.startswith("32FC1"):
        return _metres(samples)
    with np.errstate(divide="ignore", invalid="ignore"):  # inverse depth, quantised; 0 stands for none
        depth = np.float32(a) / (samples.astype(np.float32) - np.float32(b))
    return np.where(samples > 0, depth, np.float32(np.nan)).astype(np.float32)
