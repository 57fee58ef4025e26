"""How the whole image moved from one frame to the next, as when the camera turns: a shift by phase correlation.

Source: Kuglin and Hines, "The Phase Correlation Image Alignment Method" (1975). On images of 64 × 64, on the device,
without waiting for it. A rotation or a zoom is not measured; a large one makes the shift unreliable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 64
_RELIABLE = 0.15  # height of the correlation's peak: 1 for a pure shift, about 0.1 between unrelated images


@dataclass(frozen=True, eq=False)
class Movement:
    """How the image of a frame moved.

    Attributes:
        spectrum: what the next frame is compared with, see `spectrum_of`.
        shift: (3,) float32 since the frame before, see `shift_between`; None where there is none.
    """

    spectrum: Tensor
    shift: Tensor | None = None


def measure_movement(before: Movement | None, image: Tensor) -> Movement:
    """Compare an image (3, S, S) with that of the frame before."""
    spectrum = spectrum_of(image)
    return Movement(spectrum, None if before is None else shift_between(before.spectrum, spectrum))


def spectrum_of(image: Tensor) -> Tensor:
    """Return the spectrum (64, 33) complex64 of an image (3, S, S): its brightness, fading out towards the borders."""
    grey = F.interpolate(image.float().mean(0)[None, None], size=(_SIDE, _SIDE), mode="area")[0, 0]
    window = torch.hann_window(_SIDE, periodic=False, device=image.device)
    return torch.fft.rfft2((grey - grey.mean()) * window * window[:, None])


def shift_between(before: Tensor, now: Tensor) -> Tensor:
    """Return how the image moved between two frames of which `spectrum_of` gave the spectra.

    Returns:
        (3,) float32: x and y in sides of the image, and 1 where they are reliable, else 0.
    """
    cross = now * before.conj()
    correlation = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-6), s=(_SIDE, _SIDE))
    place = correlation.argmax()
    y, x = place // _SIDE, place % _SIDE
    peak = correlation.take(place)

    def finer(along: Tensor, one_less: Tensor, one_more: Tensor) -> Tensor:
        """Refine a coordinate by a parabola through the peak and its neighbours, and count it from the middle."""
        curvature = (2 * peak - one_less - one_more).clamp(min=1e-6)
        return (along + _SIDE // 2) % _SIDE - _SIDE // 2 + (one_more - one_less) / (2 * curvature)

    def value(row: Tensor, column: Tensor) -> Tensor:
        return correlation.take(row % _SIDE * _SIDE + column % _SIDE)

    shift = torch.stack((finer(x, value(y, x - 1), value(y, x + 1)), finer(y, value(y - 1, x), value(y + 1, x))))
    return torch.cat((shift / _SIDE, (peak > _RELIABLE).float()[None]))
