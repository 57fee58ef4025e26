"""SAM 2's image encoder: trunk and feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn


class Trunk(Protocol):
    """What makes maps at strides 4, 8, 16 and 32 of an image: a module such as `Hiera`."""

    @property
    def channels(self) -> Sequence[int]:
        """Channels of the maps, finest first."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Encode normalised images (B, 3, S, S) as maps (B, channels_i, S / stride_i, S / stride_i), finest first."""


class PyramidEncoder(nn.Module):
    """What makes the three maps that SAM 2's decoder and memory read of an image."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode normalised images (B, 3, S, S).

        Returns:
            Maps (B, d_model, h_i, w_i) of 4, 2 and 1 times the grid's side, finest first.
        """
        raise NotImplementedError


class FpnNeck(nn.Module):
    """Feature pyramid without output convolutions (SAM 2 paper, appendix D.1).

    Each level gets a 1×1 lateral convolution; the levels in `top_down_levels` also get the next coarser map, doubled
    by nearest neighbour. The others (the fine ones, for the decoder's skips) are lateral only.

    Args:
        d_model: channels of every level.
        backbone_channels: channels of the trunk's maps, coarsest first (the order of the checkpoint's `convs`).
        top_down_levels: indices, finest level = 0, that receive the coarser map; the coarsest ones, without a gap.

    Raises:
        ValueError: the top-down levels are not the coarsest ones.
    """

    def __init__(self, d_model: int, backbone_channels: Sequence[int], top_down_levels: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        levels = len(backbone_channels)
        if sorted(top_down_levels) != list(range(levels - len(top_down_levels), levels)):
            raise ValueError(f"top-down levels {list(top_down_levels)} are not the coarsest of {levels}.")
        self.convs = nn.ModuleList()
        for channels in backbone_channels:
            lateral = nn.Sequential()
            lateral.add_module("conv", nn.Conv2d(channels, d_model, kernel_size=1))
            self.convs.append(lateral)
        self.first_top_down = levels - len(top_down_levels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the pyramid.

        Args:
            maps: the trunk's (B, C_i, S / stride_i, S / stride_i), finest first.

        Returns:
            As many maps of `d_model` channels at the same strides, finest first.
        """
        pyramid: list[Tensor] = []
        for conv, level in zip(self.convs, reversed(range(len(maps))), strict=True):
            lateral = conv(maps[level])
            if pyramid and level >= self.first_top_down:
                lateral = lateral + F.interpolate(pyramid[-1], scale_factor=2.0, mode="nearest")
            pyramid.append(lateral)
        return pyramid[::-1]


class ImageEncoder(PyramidEncoder):
    """Trunk and neck.

    Args:
        trunk: a module; `Hiera` in SAM 2, `RepVit` in EdgeTAM.
        d_model: channels of the levels.
        top_down_levels: see `FpnNeck`.
        scalp: number of coarsest levels that nothing reads but the top-down path.
    """

    def __init__(self, trunk: Trunk, d_model: int, top_down_levels: Sequence[int] = (2, 3), scalp: int = 1) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = FpnNeck(d_model, trunk.channels[::-1], top_down_levels)
        self.scalp = scalp

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode normalised images (B, 3, S, S).

        Returns:
            The pyramid without its `scalp` coarsest levels, finest first: (B, d_model, S / stride_i, S / stride_i).
        """
        pyramid = self.neck(self.trunk(images))
        return pyramid[: len(pyramid) - self.scalp]
