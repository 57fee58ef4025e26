"""Which image a request means: one that comes with it, or one that the tracker has processed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam_core import EncodedImage, ImagePredictor
from sam_core.streaming import Frame
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.stamps import format_stamp, nanoseconds
from sam_ros.tracking.session import Session

__all__ = ["ImageRequest", "StillImage", "is_given", "still_image"]


class ImageRequest(Protocol):
    """The fields of a request that say which image is meant."""

    image: Image
    stamp: Time
    or_newest: bool


@dataclass(frozen=True, eq=False)
class StillImage:
    """An image to segment.

    Attributes:
        encoded: Its features.
        header: Its header.
        pixels: (H, W, 3) uint8 RGB; None where they are not kept.
        frame: The processed image that it is; None for one that came with a request.
        remark: What the caller should know about the choice; empty for nothing.
    """

    encoded: EncodedImage
    header: Header
    pixels: NDArray[np.uint8] | None
    frame: Frame | None = None
    remark: str = ""


def is_given(image: Image) -> bool:
    """Tell whether an image comes with the request."""
    return bool(image.width or image.height or len(image.data))


def still_image(request: ImageRequest, predictor: ImagePredictor, decode: ImageDecoder, session: Session) -> StillImage:
    """Find and encode the image of a request (inference thread). The features of a processed one are used again.

    Raises:
        ImageError: The image of the request cannot be read, or is too large.
        StampError, NoFrameError: The processed image is not at hand.
    """
    if is_given(request.image):
        pixels = decode(request.image)
        return StillImage(predictor.encode(pixels), request.image.header, pixels)
    stamp = nanoseconds(request.stamp)
    frame = session.frame_at(stamp or None, or_newest=request.or_newest)
    remark = ""
    if stamp not in (0, frame.stamp):
        near = abs(frame.stamp - stamp) <= session.stream.history.stamp_tolerance
        which = "the nearest one at hand" if near else "the newest one"
        remark = f"the image of {format_stamp(frame.stamp)} was taken, {which}"
    picture = frame.picture if isinstance(frame.picture, np.ndarray) else None
    return StillImage(EncodedImage(frame.features, frame.size), frame.source, picture, frame, remark)
