"""What sources of pictures give: a picture with what is known of it, and a count of what could not be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_ros.runtime.errors import FatalError

__all__ = ["Picture", "Skipped", "SolidTruth", "SourceError"]


class SourceError(FatalError):
    """A source of pictures cannot be opened or read."""


@dataclass(frozen=True)
class SolidTruth:
    """Where an object of a rendered scene is.

    Attributes:
        name: What it is called.
        centre: m in the scene's world, whose z axis points up.
        yaw: Rotation about the vertical, rad.
        size: Of its box along its own axes, m.
    """

    name: str
    centre: tuple[float, float, float]
    yaw: float
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        image: uint8 BGR (H, W, 3).
        labels: uint8 (H, W), 0 background, k object k, where the truth is known.
        depth: float32 (H, W) in m, registered to the picture, 0 where there is none; None for a source without depth.
        depth_delay: Stamp of the depth image less that of the picture, s.
        solids: Objects 1, 2, ... in space, where the truth is known.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None
    depth: NDArray[np.float32] | None = None
    depth_delay: float = 0.0
    solids: tuple[SolidTruth, ...] = ()


@dataclass
class Skipped:
    """Pictures of a source that could not be read; the source goes on with the next.

    Attributes:
        count: How many there were.
        newest: What the newest was.
    """

    count: int = 0
    newest: str = ""

    def add(self, what: str, count: int = 1) -> None:
        """Count pictures."""
        self.count += count
        self.newest = what
