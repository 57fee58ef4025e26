"""A feature pyramid from one feature map, and the vision backbone of the detector.

"Simple feature pyramid" of ViTDet (Li et al., 2022, section 3): every level is made from the last map alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from sam_core.layers import SinePositionEncoding
from sam_core.sam3.vit import Vit


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision backbone says about a batch of images.

    Attributes:
        levels: maps (B, d, h, w) from fine to coarse; the coarsest is the one that the detector attends to.
        position: (1, d, h, w) sine encoding of the coarsest level's grid.
    """

    levels: tuple[Tensor, ...]
    position: Tensor


def pyramid_level(scale: float, in_channels: int, channels: int) -> nn.Sequential:
    """Build the layers that take the trunk's map to `scale` times its resolution and to `channels`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if scale == 4:
        layers["dconv_2x2_0"] = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
        layers["gelu"] = nn.GELU()
        layers["dconv_2x2_1"] = nn.ConvTranspose2d(in_channels // 2, in_channels // 4, kernel_size=2, stride=2)
        in_channels //= 4
    elif scale == 2:
        layers["dconv_2x2"] = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
        in_channels //= 2
    elif scale == 0.5:
        layers["maxpool_2x2"] = nn.MaxPool2d(kernel_size=2, stride=2)
    elif scale != 1:
        raise ValueError(f"a pyramid level is at 4, 2, 1 or 0.5 times the trunk, not {scale}.")
    layers["conv_1x1"] = nn.Conv2d(in_channels, channels, kernel_size=1)
    layers["conv_3x3"] = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
    return nn.Sequential(layers)


def pyramid(scales: Sequence[float], in_channels: int, channels: int) -> nn.ModuleList:
    """Build the levels of a pyramid, from fine to coarse."""
    return nn.ModuleList(pyramid_level(scale, in_channels, channels) for scale in scales)


class VisionBackbone(nn.Module):
    """The trunk and the detector's pyramid.

    Args:
        trunk: the vision transformer.
        channels: channels of every level.
        scales: resolution of each level over the trunk's, from fine to coarse.
        unused_levels: levels at the coarse end that have weights in the checkpoint but are not computed.
    """

    def __init__(
        self,
        trunk: Vit,
        channels: int,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        unused_levels: int = 1,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_levels = len(scales) - unused_levels
        self.position_encoding = SinePositionEncoding(channels)
        self.convs = pyramid(scales, trunk.width, channels)

    def levels(self, trunk: Tensor) -> ImageFeatures:
        """Make the pyramid of the trunk's map (B, width, h, w)."""
        levels = tuple(level(trunk) for level in self.convs[: self.num_levels])
        return ImageFeatures(levels, self.position_encoding(levels[-1]))

    def forward(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        return self.levels(self.trunk(images))
