"""What a user can choose about the way from masks and depth to boxes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LocalizerSettings"]


@dataclass(frozen=True)
class LocalizerSettings:
    """Limits and options.

    Attributes:
        upright: Whether boxes stand upright where it is known where up is; false for free ones.
        min_points: Fewer points give no box.
        max_points: Of an object; of more, every second, third, ... is taken. Of a mask with many more pixels, every
            second, third, ... row and column is looked at.
        min_range: Least depth that counts, m.
        max_range: Largest depth that counts, m.
        erosion: Width of the mask's edge that is left out, as a share of the square root of its area.
        max_erosion: Most of it, px.
        depth_noise: Standard deviation of a pixel's depth at 1 m, m; it grows with the square of the depth, as for
            stereo and structured light. The default is that of Khoshelham and Elberink (2012), rounded.
    """

    upright: bool = True
    min_points: int = 40
    max_points: int = 2000
    min_range: float = 0.15
    max_range: float = 10.0
    erosion: float = 0.04
    max_erosion: int = 4
    depth_noise: float = 0.0015
