"""SAM 2's image encoder: trunk and feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam2.hiera import Hiera


class FpnNeck(nn.Module):
    """Feature pyramid without output convolutions (SAM 2 paper, appendix D.1).

    Each level gets a 1×1 lateral convolution; the levels in `top_down_levels` also get the next coarser map, doubled
    by nearest neighbour. The others (the fine ones, for the decoder's skips) are lateral only.

    Args:
        d_model: channels of every level.
        backbone_channels: channels of the trunk's maps, coarsest first (the order of the checkpoint's `convs`).
        top_down_levels: indices, finest level = 0, that receive the coarser map.
    """

    def __init__(self, d_model: int, backbone_channels: Sequence[int], top_down_levels: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for channels in backbone_channels:
            lateral = nn.Sequential()
            lateral.add_module("conv", nn.Conv2d(channels, d_model, kernel_size=1))
            self.convs.append(lateral)
        self.top_down_levels = frozenset(top_down_levels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map the trunk's features, finest first, to as many maps of `d_model` channels, finest first."""
        levels: list[Tensor] = []
        coarser: Tensor | None = None
        for level in reversed(range(len(maps))):
            x = self.convs[len(maps) - 1 - level](maps[level])
            if coarser is not None and level in self.top_down_levels:
                x = x + F.interpolate(coarser, scale_factor=2.0, mode="nearest")
            levels.append(x)
            coarser = x
        return levels[::-1]


class ImageEncoder(nn.Module):
    """Trunk and neck; the `scalp` coarsest levels are dropped.

    Args:
        trunk: the Hiera trunk.
        d_model: channels of the levels.
        top_down_levels: see `FpnNeck`.
        scalp: number of coarsest levels to drop.
    """

    def __init__(self, trunk: Hiera, d_model: int, top_down_levels: Sequence[int] = (2, 3), scalp: int = 1) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = FpnNeck(d_model, trunk.channels[::-1], top_down_levels)
        self.scalp = scalp

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode (B, 3, S, S) as maps at strides 4, 8 and 16, (B, d_model, S / stride, S / stride)."""
        levels = self.neck(self.trunk(images))
        return levels[: len(levels) - self.scalp]
