"""Match images and the results of a tracker by their stamps, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["StampMatcher"]

ImageT = TypeVar("ImageT")
ResultT = TypeVar("ResultT")
Item = TypeVar("Item")

MOST_IMAGES = 300  # that may wait for their result
MOST_RESULTS = 30  # that may wait for their image
LONGEST_IMAGE_WAIT = 30.0  # s: no tracker takes longer
LONGEST_RESULT_WAIT = 2.0  # s: an image that is later than its result by more was lost


@dataclass(frozen=True)
class _Entry(Generic[Item]):
    item: Item
    size: int  # bytes
    order: int  # of arrival
    arrived: float  # monotonic s


class StampMatcher(Generic[ImageT, ResultT]):
    """Keep each image until its result comes, or the other way round. One thread at a time may use it.

    A result comes when the tracker is done, which can be many images later. When the images in between exceed their
    bound, they are thinned evenly: cutting off the oldest would leave every result of a slow tracker without its image.
    One image and its neighbours are spared until the results have passed them: the image that was the newest when a
    result came, as a busy tracker takes that one next.

    Args:
        image_bytes: Bound of the images that wait; the newest stays, however large.
        result_bytes: Bound of the results that wait; the newest stays, however large.
        clock: Monotonic seconds; tests pass their own.

    Attributes:
        missed: Results whose image was not found.
    """

    def __init__(self, *, image_bytes: int, result_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.missed = 0
        self._most_image_bytes = image_bytes
        self._most_result_bytes = result_bytes
        self._clock = clock
        self._images: OrderedDict[int, _Entry[ImageT]] = OrderedDict()  # by stamp, in the order of their arrival
        self._results: OrderedDict[int, _Entry[ResultT]] = OrderedDict()
        self._image_bytes = 0
        self._result_bytes = 0
        self._count = 0
        self._passed = 0  # order of the newest image that the tracker is done with
        self._spared = 0  # order of the image that is spared

    @property
    def size(self) -> int:
        """Bytes of all that waits."""
        return self._image_bytes + self._result_bytes

    def add_image(self, stamp: int, image: ImageT, size: int) -> ResultT | None:
        """Take an image.

        Args:
            stamp: In ns.
            image: The image.
            size: Of the image in bytes.

        Returns:
            Its result, if that came before; None where it is waited for.
        """
        self._expire()
        self._count += 1
        early = self._results.pop(stamp, None)
        if early is not None:
            self._result_bytes -= early.size
            return early.item
        self._drop_image(stamp)
        self._images[stamp] = _Entry(image, size, self._count, self._clock())
        self._image_bytes += size
        self._thin()
        return None

    def add_result(self, stamp: int, result: ResultT, size: int) -> ImageT | None:
        """Take a result; results come in the order of their images, so no older image is waited for any more.

        Args:
            stamp: Of its image, in ns.
            result: The result.
            size: Of the result in bytes.

        Returns:
            Its image; None where that has not come, or was thinned out.
        """
        self._expire()
        found = self._images.get(stamp)
        while self._images and (found is not None or next(iter(self._images)) < stamp):
            oldest = next(iter(self._images))
            self._passed = self._images[oldest].order
            self._drop_image(oldest)
            if oldest == stamp:
                break
        if self._spared <= self._passed + 1:
            self._spared = self._count
        if found is not None:
            return found.item
        self._drop_result(stamp)
        self._results[stamp] = _Entry(result, size, 0, self._clock())
        self._result_bytes += size
        while len(self._results) > 1 and (
            len(self._results) > MOST_RESULTS or self._result_bytes > self._most_result_bytes
        ):
            self._drop_result(next(iter(self._results)))
        return None

    def clear(self) -> None:
        """Forget all that waits."""
        self._images.clear()
        self._results.clear()
        self._image_bytes = self._result_bytes = 0

    def _drop_image(self, stamp: int) -> None:
        entry = self._images.pop(stamp, None)
        self._image_bytes -= entry.size if entry is not None else 0

    def _drop_result(self, stamp: int) -> None:
        entry = self._results.pop(stamp, None)
        if entry is not None:
            self._result_bytes -= entry.size
            self.missed += 1

    def _expire(self) -> None:
        now = self._clock()
        while self._images and now - next(iter(self._images.values())).arrived > LONGEST_IMAGE_WAIT:
            self._drop_image(next(iter(self._images)))
        while self._results and now - next(iter(self._results.values())).arrived > LONGEST_RESULT_WAIT:
            self._drop_result(next(iter(self._results)))

    def _thin(self) -> None:
        """Drop the images that leave the smallest gaps until the rest is within the bounds."""
        while len(self._images) > 1 and (len(self._images) > MOST_IMAGES or self._image_bytes > self._most_image_bytes):
            stamps = list(self._images)
            orders = [self._passed, *(entry.order for entry in self._images.values())]
            near = (self._spared - 1, self._spared + 1, self._count - 1)
            ranks = [  # of all but the newest; the lowest is dropped
                (2 if order == self._spared else int(order in near), after - before)
                for before, order, after in zip(orders, orders[1:], orders[2:], strict=False)
            ]
            self._drop_image(stamps[ranks.index(min(ranks))])
