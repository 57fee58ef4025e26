"""SAM 2's image encoder: trunk and feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import Affine, DerivedLinear, PointwiseConv2d
from sam_core.sam2.hiera import Hiera


class FpnNeck(nn.Module):
    """Feature pyramid without output convolutions (SAM 2 paper, appendix D.1).

    Each level gets a 1×1 lateral convolution; the levels in `top_down_levels` also get the next coarser map, doubled
    by nearest neighbour. The others (the fine ones, for the decoder's skips) are lateral only.

    Args:
        d_model: channels of every level.
        backbone_channels: channels of the trunk's maps, coarsest first (the order of the checkpoint's `convs`).
        top_down_levels: indices, finest level = 0, that receive the coarser map; the coarsest ones, without a gap.
    """

    def __init__(self, d_model: int, backbone_channels: Sequence[int], top_down_levels: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        levels = len(backbone_channels)
        if sorted(top_down_levels) != list(range(levels - len(top_down_levels), levels)):
            raise ValueError(f"top-down levels {list(top_down_levels)} are not the coarsest of {levels}.")
        self.convs = nn.ModuleList()
        for channels in backbone_channels:
            lateral = nn.Sequential()
            lateral.add_module("conv", PointwiseConv2d(channels, d_model))
            self.convs.append(lateral)
        self.first_top_down = levels - len(top_down_levels)
        self._folded = [DerivedLinear() for _ in range(self.first_top_down)]

    def lateral(self, level: int) -> PointwiseConv2d:
        """Return the lateral convolution of a level, finest = 0."""
        return self.convs[len(self.convs) - 1 - level].conv  # type: ignore[return-value]

    def top_down(self, maps: Sequence[Tensor], level: int) -> Tensor:
        """Return the (B, d_model, H, W) pyramid map of a top-down level, given the trunk's maps, finest first."""
        x = self.lateral(level)(maps[level])
        if level + 1 == len(maps):
            return x
        return x + F.interpolate(self.top_down(maps, level + 1), scale_factor=2.0, mode="nearest")

    def skip(self, maps: Sequence[Tensor], level: int, then: PointwiseConv2d) -> Tensor:
        """Apply a fine level's lateral convolution and the 1×1 convolution of the decoder that alone reads it.

        Two linear maps of channels in a row are one: the wide map between them is never made.
        """
        lateral = self.lateral(level)
        assert then.bias is not None
        assert lateral.bias is not None

        def fold() -> Affine:
            assert then.bias is not None
            assert lateral.bias is not None
            outer = then.matrix.double()
            bias = outer @ lateral.bias.double() + then.bias.double()
            return (outer @ lateral.matrix.double()).to(then.weight.dtype), bias.to(then.bias.dtype)

        sources = [lateral.weight, lateral.bias, then.weight, then.bias]
        return self._folded[level](maps[level].permute(0, 2, 3, 1), sources, fold).permute(0, 3, 1, 2)


class ImageEncoder(nn.Module):
    """Trunk and neck.

    Args:
        trunk: the Hiera trunk.
        d_model: channels of the levels.
        top_down_levels: see `FpnNeck`.
        scalp: number of coarsest levels that nothing reads but the top-down path.
    """

    def __init__(self, trunk: Hiera, d_model: int, top_down_levels: Sequence[int] = (2, 3), scalp: int = 1) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = FpnNeck(d_model, trunk.channels[::-1], top_down_levels)
        self.scalp = scalp

    def forward(self, images: Tensor, skips: Sequence[PointwiseConv2d]) -> list[Tensor]:
        """Encode (B, 3, S, S).

        Args:
            images: normalised images.
            skips: for each fine level, finest first, the decoder's convolution that follows it.

        Returns:
            The fine levels after their convolution, finest first, then the coarsest level that is kept, of `d_model`
            channels; (B, C_i, S / stride_i, S / stride_i), channels last.
        """
        maps = self.trunk(images)
        fine = [self.neck.skip(maps, level, then) for level, then in enumerate(skips)]
        return [*fine, self.neck.top_down(maps, len(maps) - 1 - self.scalp)]
