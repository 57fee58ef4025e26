"""Pictures for browsers: each asks for the next one when it has drawn the last, so a slow browser skips frames.

The answer is one binary: the length of a JSON text in bytes (uint32, little endian), the text (stamp, objects with
their outlines), and a JPEG. So the browser knows the stamp and the masks of exactly the picture that it shows.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import cv2
from sensor_msgs.msg import CompressedImage

from sam_core import ImageError
from sam_ros.console.ros.frames import Frame, ImageMessage, SeenObject
from sam_ros.console.web.thumbnails import thumbnails_of
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.image_header import read_header
from sam_ros.runtime.texts import legible

__all__ = ["LEVELS", "Encoder", "encode"]

# (JPEG quality, longest side in px) from the best; a browser with a slow connection asks for a later one.
LEVELS = ((85, 1920), (75, 1280), (65, 960), (50, 640))
KEPT = 6  # answers: all browsers that show the same frame share one
OBEYED = (b"Exif\0\0", b"ICC_PROFILE\0")  # marks of the parts of a JPEG (APP1, APP2) that browsers obey
LONGEST_LABEL = 80  # characters that the picture shows


class Encoder:
    """Encode frames in one thread, beside the web server's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jpeg")
        self._answers: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()  # only its thread uses both
        self._thumbnails: WeakKeyDictionary[Frame, Mapping[int, str]] = WeakKeyDictionary()

    async def encode(self, tracker: str, frame: Frame, level: int) -> bytes:
        """Return the answer for a frame of a tracker at a level of `LEVELS`.

        Raises:
            ImageError: Its image cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, tracker, frame, level)

    def _answer(self, tracker: str, frame: Frame, level: int) -> bytes:
        key = (tracker, frame.number, frame.stamp, level)
        answer = self._answers.pop(key, None) or encode(frame, level)
        self._answers[key] = answer
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        return answer

    async def thumbnails(self, frame: Frame) -> Mapping[int, str]:
        """Return pictures of a frame's objects as data URIs, by identity; all pages share them."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._thumbnails_of, frame)

    def _thumbnails_of(self, frame: Frame) -> Mapping[int, str]:
        if frame not in self._thumbnails:
            self._thumbnails[frame] = thumbnails_of(frame)
        return self._thumbnails[frame]

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


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
        "area": int(item.message.area),
        "outline": [[round(number, 1) for number in polygon] for polygon in item.outline],
    }


def _is_for_browsers(image: ImageMessage) -> bool:
    """Return whether a browser shows an image's data as the tracker sees them.

    It must be a JPEG, but no Bayer mosaic, and without what browsers obey and the tracker does not: an orientation or a
    colour profile.
    """
    if not isinstance(image, CompressedImage) or image.format.startswith("bayer_"):
        return False
    data = bytes(image.data)
    return read_header(data).format == "jpeg" and not any(mark in data for mark in OBEYED)


def _jpeg(frame: Frame, level: int) -> tuple[bytes, int, int]:
    """Return a JPEG and the width and height (px) of the image that it shows, maybe smaller.

    Raises:
        ImageError: The image cannot be read.
    """
    quality, longest = LEVELS[level]
    rgb = frame.rgb()
    height, width = rgb.shape[:2]
    if level == 0 and max(height, width) <= longest and _is_for_browsers(frame.image):
        return bytes(frame.image.data), width, height
    scale = longest / max(height, width)
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise ImageError("the image cannot be encoded as JPEG")
    return data.tobytes(), width, height
