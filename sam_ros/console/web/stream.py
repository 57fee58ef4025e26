"""Pictures for browsers: each asks for the next one when it has drawn the last, so a slow browser skips frames.

The answer is one binary: the length of a JSON text in bytes (uint32, little endian), the text (stamp, objects with
their outlines), and a JPEG. So the browser knows the stamp and the masks of exactly the picture that it shows.
"""

from __future__ import annotations

import asyncio
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import cv2
from sensor_msgs.msg import CompressedImage

from sam_core import ImageError
from sam_ros.console.ros.frames import Frame, SeenObject
from sam_ros.conversions.colours import colour_of
from sam_ros.runtime.texts import legible

__all__ = ["LEVELS", "Encoder", "encode"]

# (JPEG quality, longest side in px) from the best; a browser with a slow connection asks for a later one.
LEVELS = ((85, 1920), (75, 1280), (65, 960), (50, 640))
KEPT = 6  # encoded frames: all browsers that show the same frame share one
LONGEST_LABEL = 80  # characters that the picture shows


class Encoder:
    """Encode frames in one thread, beside the web server's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jpeg")

    async def encode(self, frame: Frame, level: int) -> bytes:
        """Return the answer for a frame.

        Raises:
            ImageError: Its image cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, encode, frame, level)

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


@lru_cache(maxsize=KEPT)
def encode(frame: Frame, level: int) -> bytes:
    """Return the answer for a frame at a level of `LEVELS`."""
    jpeg, width, height = _jpeg(frame, level)
    facts = {
        "number": frame.number,
        "stamp": str(frame.stamp),  # ns do not fit into a number of JavaScript
        "frame_id": legible(frame.header.frame_id, LONGEST_LABEL),
        "width": width,
        "height": height,
        "tracked": frame.tracked,
        "objects": [_facts(item) for item in frame.objects],
    }
    text = json.dumps(facts, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + jpeg


def _facts(item: SeenObject) -> dict[str, Any]:
    blue, green, red = colour_of(item.id)
    return {
        "id": item.id,
        "label": legible(item.message.label, LONGEST_LABEL),
        "colour": [red, green, blue],
        "outline": [[round(number, 1) for number in polygon] for polygon in item.outline],
    }


def _jpeg(frame: Frame, level: int) -> tuple[bytes, int, int]:
    """Return a JPEG and the width and height (px) of the image that it shows, maybe smaller.

    Raises:
        ImageError: The image cannot be read.
    """
    quality, longest = LEVELS[level]
    rgb = frame.rgb()
    height, width = rgb.shape[:2]
    image = frame.image
    if isinstance(image, CompressedImage) and level == 0 and max(height, width) <= longest and "jp" in image.format:
        return bytes(image.data), width, height
    scale = longest / max(height, width)
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if scale < 1.0:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise ImageError("the image cannot be encoded as JPEG")
    return data.tobytes(), width, height
