"""What a browser is shown: an image with the objects that were tracked in it, matched by stamp."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sam_msgs.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sam_ros.conversions.compressed import compressed_to_rgb
from sam_ros.conversions.encodings import RgbImage, image_to_rgb
from sam_ros.conversions.outlines import Outline, outline_of
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.stamp_matcher import StampMatcher

__all__ = ["Frame", "FrameStore", "ImageMessage", "SeenObject", "crop_of"]

ImageMessage: TypeAlias = "Image | CompressedImage"

MOST_FRAMES = 90  # shown ones that a click may name
WAITING, EARLY, SHOWN = 0.5, 0.125, 0.375  # parts of the memory: images, results that wait for the other; frames
LONGEST_INTERVAL = 3.0  # s between two tracked frames that counts
UNTRACKED_AFTER = 2.0  # s without a tracked frame, or thrice the time between two, until images are shown as they come


def crop_of(mask: Image) -> NDArray[np.uint8]:
    """Return a cropped mask of a message, uint8 (H, W); empty where its size and its data do not agree."""
    data = np.frombuffer(mask.data, np.uint8)
    return (
        data.reshape(mask.height, mask.width) if data.size == mask.height * mask.width else np.zeros((0, 0), np.uint8)
    )


@dataclass(frozen=True, eq=False)
class SeenObject:
    """An object in one image.

    Attributes:
        message: As the tracker published it.
    """

    message: TrackedObject

    @property
    def id(self) -> int:
        """Its identity."""
        return int(self.message.id)

    @cached_property
    def crop(self) -> NDArray[np.uint8]:
        """The mask in the object's box, not 0 on the object; empty where there is none."""
        return crop_of(self.message.mask)

    @property
    def outline(self) -> Outline:
        """The mask's outline, computed anew; the box where masks are not published."""
        box = self.message.box
        x, y, width, height = box.x_offset, box.y_offset, box.width, box.height
        if self.crop.size == 0 and width:
            return ((x, y, x + width, y, x + width, y + height, x, y + height),)
        return outline_of(self.crop, x, y)

    def covers(self, x: float, y: float) -> bool:
        """Return whether the mask, or the box where masks are not published, covers a point (px)."""
        box = self.message.box
        column, row = int(x) - box.x_offset, int(y) - box.y_offset
        if not (0 <= column < box.width and 0 <= row < box.height):
            return False
        if self.crop.size == 0:
            return True
        return row < self.crop.shape[0] and column < self.crop.shape[1] and bool(self.crop[row, column])


@dataclass(frozen=True, eq=False)
class Frame:
    """An image and the objects in it.

    Attributes:
        number: Counts the frames of one store, from 1.
        image: As the camera published it.
        objects: Of exactly this image.
        tracked: Whether the tracker has processed the image.
    """

    number: int
    image: ImageMessage
    objects: tuple[SeenObject, ...]
    tracked: bool

    @property
    def header(self) -> Header:
        """The image's header."""
        return self.image.header

    @property
    def stamp(self) -> int:
        """The image's stamp in ns."""
        return stamp_of(self.image.header)

    def rgb(self) -> RgbImage:
        """Decode the image, uint8 RGB (H, W, 3).

        Raises:
            ImageError: It cannot be read.
        """
        return compressed_to_rgb(self.image) if isinstance(self.image, CompressedImage) else image_to_rgb(self.image)

    def object_at(self, x: float, y: float, *, without: Collection[int] = ()) -> SeenObject | None:
        """Return the smallest object that covers a point (px), of those whose identities are not in `without`."""
        hit = [item for item in self.objects if item.id not in without and item.covers(x, y)]
        return min(hit, key=lambda item: item.message.area, default=None)


class FrameStore:
    """Match images and results by stamp, and keep the newest frames. Any thread may call it.

    Args:
        most_bytes: Of the images and masks that are kept.
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = int(SHOWN * most_bytes)  # of frames
        self._clock = clock
        self._lock = threading.Lock()
        self._matcher = StampMatcher[ImageMessage, TrackedObjectArray](
            image_bytes=int(WAITING * most_bytes), result_bytes=int(EARLY * most_bytes), clock=clock
        )
        self._frames: OrderedDict[int, Frame] = OrderedDict()  # by number
        self._count = 0
        self._last_tracked = -math.inf  # monotonic s
        self._interval = 0.0  # s between the last two tracked frames
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def add_image(self, message: ImageMessage) -> None:
        """Take an image of the camera."""
        with self._lock:
            result = self._matcher.add_image(stamp_of(message.header), message, len(message.data))
            if result is not None:
                self._show_tracked(message, result)
            elif self._clock() - self._last_tracked > max(UNTRACKED_AFTER, 3 * self._interval):
                self._show(message, None)

    def add_result(self, message: TrackedObjectArray) -> None:
        """Take the objects of an image."""
        with self._lock:
            image = self._matcher.add_result(stamp_of(message.header), message, _mask_bytes(message.objects))
            if image is not None:
                self._show_tracked(image, message)

    @property
    def newest(self) -> Frame | None:
        """The newest frame."""
        with self._lock:
            return next(reversed(self._frames.values()), None)

    def frame(self, number: int) -> Frame | None:
        """Return a frame that is still kept."""
        with self._lock:
            return self._frames.get(number)

    def frame_of(self, stamp: int) -> Frame | None:
        """Return the newest kept frame of a stamp (ns)."""
        with self._lock:
            return next((frame for frame in reversed(self._frames.values()) if frame.stamp == stamp), None)

    async def newer(self, number: int, timeout: float) -> Frame | None:
        """Wait at most `timeout` s for a frame after the given one, and return the newest."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while True:
            arrived: asyncio.Future[None] = loop.create_future()
            with self._lock:
                newest = next(reversed(self._frames.values()), None)
                if newest is not None and newest.number != number:
                    return newest
                self._waiting.append((loop, arrived))
            try:
                await asyncio.wait_for(arrived, max(0.0, end - loop.time()))
            except asyncio.TimeoutError:
                return None
            finally:
                with self._lock:
                    self._waiting = [entry for entry in self._waiting if entry[1] is not arrived]

    def forget(self) -> None:
        """Give everything back: nobody looks any more."""
        with self._lock:
            self._matcher.clear()
            self._frames.clear()

    def _show_tracked(self, image: ImageMessage, result: TrackedObjectArray) -> None:
        now = self._clock()
        since = now - self._last_tracked
        self._interval = min(since, LONGEST_INTERVAL) if math.isfinite(since) else 0.0
        self._last_tracked = now
        self._show(image, result)

    def _show(self, image: ImageMessage, result: TrackedObjectArray | None) -> None:
        self._count += 1
        objects = tuple(SeenObject(item) for item in result.objects) if result is not None else ()
        self._frames[self._count] = Frame(self._count, image, objects, tracked=result is not None)
        size = sum(map(_frame_bytes, self._frames.values()))
        while len(self._frames) > 1 and (len(self._frames) > MOST_FRAMES or size > self._most_bytes):
            _, oldest = self._frames.popitem(last=False)  # the newest stays, however large
            size -= _frame_bytes(oldest)
        for loop, arrived in self._waiting:
            loop.call_soon_threadsafe(_wake, arrived)


def _wake(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)


def _mask_bytes(objects: Iterable[TrackedObject]) -> int:
    return sum(len(item.mask.data) for item in objects)


def _frame_bytes(frame: Frame) -> int:
    return len(frame.image.data) + _mask_bytes(item.message for item in frame.objects)
