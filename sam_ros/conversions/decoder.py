"""Decode the images of one topic, raw or compressed, under a node's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sam_core import ImageError
from sam_ros.conversions.compressed import compressed_to_rgb
from sam_ros.conversions.encodings import ENCODINGS, LARGEST_PIXEL, MAX_PIXELS, RgbImage, check_size, image_to_rgb

if TYPE_CHECKING:  # any object with the message's fields will do, so it works without ROS
    from sensor_msgs.msg import CompressedImage, Image

__all__ = ["ImageDecoder"]

DARK = 64  # of 255: a 16-bit image whose samples have 14 bits or fewer ends below it


class ImageDecoder:
    """Turn image messages into RGB arrays.

    Args:
        warn: Told once where the first 16-bit image is so dark that its camera probably has fewer bits.
        max_pixels: Larger images are refused before they are decoded.
        white_level: Value of 16-bit and floating-point samples that becomes white; 0 for 65535, or 1.0.
    """

    def __init__(
        self, *, warn: Callable[[str], object], max_pixels: int = MAX_PIXELS, white_level: float = 0.0
    ) -> None:
        self._max_pixels = max_pixels
        self._white_level = white_level
        self._warn = warn
        self._looks_at_range = white_level == 0

    def check(self, message: Image) -> None:
        """Refuse an image by its size alone, before it waits to be decoded.

        Raises:
            ImageError: It is too large, or comes with more data than an image may have.
        """
        check_size(message.width, message.height, self._max_pixels)
        most = self._max_pixels * LARGEST_PIXEL
        if len(message.data) > most:
            raise ImageError(f"the image is too large: it has {len(message.data)} bytes, and at most {most} are taken")

    def __call__(self, message: Image | CompressedImage) -> RgbImage:
        """Return a message's image as uint8 RGB (H, W, 3).

        Raises:
            ImageError: It cannot be read, or is too large.
        """
        if hasattr(message, "format"):  # CompressedImage has one, Image has not
            return compressed_to_rgb(message, max_pixels=self._max_pixels, white_level=self._white_level)
        image = image_to_rgb(message, max_pixels=self._max_pixels, white_level=self._white_level)
        if self._looks_at_range and ENCODINGS[message.encoding].sample is np.uint16:
            self._looks_at_range = False
            brightest = int(image.max())
            if brightest < DARK:
                self._warn(
                    f"the first {message.encoding} image is nearly black: its brightest sample is "
                    f"{brightest / 255:.0%} of 65535. Set white_level to 1023, 4095 or 16383 "
                    "for a camera of 10, 12 or 14 bits"
                )
        return image
