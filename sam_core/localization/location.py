"""Where an object is: its box in the camera's frame, with what is uncertain about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Location", "rotated"]

Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Location:
    """An object's box, and how it was found.

    Attributes:
        shape: "box", "cylinder" or "sphere": which explains the visible surface best.
        centre: (3,) m.
        rotation: (3, 3) from the box's axes to the frame.
        size: (3,) along the box's own axes, m.
        covariance: (6, 6) of the centre and of the rotation about the frame's axes, m^2 and rad^2.
        upright: Whether the box's z axis points up.
        points: Number of points.
        depth_share: Share of the mask's pixels with depth, 0 to 1.
        occluded_share: Share of the mask's outline beside which something nearer is, 0 to 1.
        touches_border: Whether the mask touches the image's border.
    """

    shape: str
    centre: Doubles
    rotation: Doubles
    size: Doubles
    covariance: Doubles
    upright: bool
    points: int
    depth_share: float
    occluded_share: float
    touches_border: bool

    def moved(self, transform: Doubles) -> Location:
        """Return the same box in another frame; `transform` (4, 4) leads there from this one."""
        turn = transform[:3, :3]
        both = np.zeros((6, 6))
        both[:3, :3] = both[3:, 3:] = turn
        return replace(
            self,
            centre=turn @ self.centre + transform[:3, 3],
            rotation=turn @ self.rotation,
            covariance=both @ self.covariance @ both.T,
        )

    def aligned(self, before: Doubles | None) -> Location:
        """Return the same box with its horizontal axes named as those of the rotation before, as far as it can.

        A box is the same after a half turn, and after a quarter turn with x and y exchanged. An upright one keeps z.
        Without a rotation before, the longer side becomes x.
        """
        if before is None:
            best = 0 if self.size[0] >= self.size[1] else 1
        else:
            turns = [rotated(self.rotation, quarter * math.pi / 2) for quarter in range(4)]
            best = int(np.argmax([np.trace(before.T @ turn) for turn in turns]))
        size = self.size[[1, 0, 2]] if best % 2 else self.size
        rotation = rotated(self.rotation, best * math.pi / 2)
        return replace(self, rotation=rotation, size=size)

    @property
    def corners(self) -> Doubles:
        """The box's corners, (8, 3) m."""
        signs = np.array(np.meshgrid((-0.5, 0.5), (-0.5, 0.5), (-0.5, 0.5), indexing="ij")).reshape(3, 8).T
        corners: Doubles = self.centre + signs * self.size @ self.rotation.T
        return corners


def rotated(rotation: Doubles, angle: float) -> Doubles:
    """Return a rotation (3, 3) after a turn by `angle` rad about its own z axis."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: Doubles = rotation @ np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return turned
