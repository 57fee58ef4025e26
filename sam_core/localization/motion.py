"""Follow located objects over time: velocity by a small filter, box axes that keep their names, a trail."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_core.localization.location import Location

__all__ = ["Motion", "Motions"]

Doubles: TypeAlias = NDArray[np.float64]
_LEAST_DEVIATION = 0.003  # m: the centre of a box is not more exact than that from one image to the next
_UNKNOWN_SPEED = 1.0  # m/s, standard deviation before anything was seen


class Motion:
    """Constant velocity with random accelerations: a Kalman filter for each axis.

    The model is that of Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation (2001),
    section 6.3.2 (piecewise constant white acceleration).

    Args:
        acceleration: Standard deviation of the acceleration, m/s^2.
        trail: Positions that are remembered.

    Attributes:
        trail: The newest centres (3,) in m.
    """

    def __init__(self, acceleration: float, trail: int) -> None:
        self.trail: deque[Doubles] = deque(maxlen=trail)
        self._acceleration = acceleration
        self._stamp: int | None = None
        self._state = np.zeros((2, 3))  # position and velocity
        self._covariance = np.zeros((2, 2, 3))
        self._rotation: Doubles | None = None
        self._steps = 0

    @property
    def stamp(self) -> int | None:
        """Stamp of the newest location, ns."""
        return self._stamp

    @property
    def velocity(self) -> Doubles:
        """Velocity (3,) in m/s; NaN until two locations were seen."""
        return self._state[1].copy() if self._steps > 1 else np.full(3, np.nan)

    def update(self, stamp: int, location: Location) -> Location:
        """Take in a location that is later than the one before, and return it with its axes named as before.

        Args:
            stamp: ns.
            location: In a frame that does not move.
        """
        location = location.aligned(self._rotation)
        self._rotation = location.rotation
        variance = np.maximum(np.diag(location.covariance)[:3], _LEAST_DEVIATION**2)
        # A constant bias, as of an assumed depth, tells nothing about motion: what scatters counts.
        variance = np.minimum(variance, 0.05**2)
        if self._stamp is None:
            self._state[0] = location.centre
            self._covariance[0, 0], self._covariance[1, 1] = variance, _UNKNOWN_SPEED**2
        else:
            self._predict((stamp - self._stamp) * 1e-9)
            gain = self._covariance[:, 0] / (self._covariance[0, 0] + variance)
            self._state = self._state + gain * (location.centre - self._state[0])
            self._covariance = self._covariance - gain[:, None] * self._covariance[0][None]
        self._stamp = stamp
        self._steps += 1
        self.trail.append(location.centre)
        return location

    def _predict(self, seconds: float) -> None:
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        push = np.array([seconds**2 / 2, seconds]) * self._acceleration
        self._state = step @ self._state
        moved = np.einsum("ij,jka,lk->ila", step, self._covariance, step)
        self._covariance = moved + np.outer(push, push)[..., None]


@dataclass
class Motions:
    """The motions of all objects; what was not located for a while begins anew.

    Attributes:
        acceleration: Standard deviation of an object's acceleration, m/s^2.
        longest_gap: Seconds without a location after which a motion is forgotten.
        trail: Positions that are remembered of each.
    """

    acceleration: float = 0.5
    longest_gap: float = 1.0
    trail: int = 60

    def __post_init__(self) -> None:
        self._motions: dict[int, Motion] = {}

    def __getitem__(self, object_id: int) -> Motion:
        return self._motions[object_id]

    def update(self, object_id: int, stamp: int, location: Location) -> Location:
        """Take in where an object is; time that does not go on, or a long gap, begins its motion anew."""
        motion = self._motions.get(object_id)
        if motion is None or motion.stamp is None or not 0 < stamp - motion.stamp <= self.longest_gap * 1e9:
            motion = self._motions[object_id] = Motion(self.acceleration, self.trail)
        return motion.update(stamp, location)

    def keep(self, object_ids: Iterable[int]) -> None:
        """Forget all other objects."""
        known = set(object_ids)
        self._motions = {key: motion for key, motion in self._motions.items() if key in known}

    def clear(self) -> None:
        """Forget everything: the clock has jumped, or the frame has changed."""
        self._motions.clear()
