"""RepViT: a convolutional trunk in four stages.

Source: "RepViT: Revisiting Mobile CNN From ViT Perspective" (Wang et al., CVPR 2024), sections 3.2 to 3.4. Parameter
names are those of EdgeTAM's checkpoints. Maps are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ConvNorm", "RepVit", "TokenMixer"]

_REDUCTION = 4  # channels of a block over those inside its squeeze-and-excitation
_DIVISOR = 8  # the inner channels are a multiple of this
_EXPANSION = 2  # hidden channels of a channel mixer over its channels


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation, which inference can fold into one convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel; odd, and padded so that a stride of 1 keeps the size.
        stride: step of the kernel.
        groups: groups of channels that do not mix.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return self.bn(self.c(x))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return what `folded` is computed from."""
        norm = self.bn
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return self.c.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the one convolution that does the same in evaluation mode, in float64."""
        weight, scale, shift, mean, variance = (tensor.double() for tensor in self.tensors())
        scale = scale / (variance + self.bn.eps).sqrt()
        return weight * scale[:, None, None, None], shift - mean * scale


class TokenMixer(nn.Module):
    """Depthwise 3×3 and 1×1 convolutions and the identity, added (the paper's figure 3).

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 3, groups=channels)
        self.conv1 = ConvNorm(channels, channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return self.conv(x) + self.conv1(x) + x

    def tensors(self) -> tuple[Tensor, ...]:
        """Return what `folded` is computed from."""
        return (*self.conv.tensors(), *self.conv1.tensors())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the one depthwise 3×3 convolution that does the same, in float64."""
        weight, bias = self.conv.folded()
        centre, more = self.conv1.folded()
        return weight + F.pad(centre + 1, (1, 1, 1, 1)), bias + more


class ChannelMixer(nn.Module):
    """Two pointwise convolutions with a GELU between them.

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, _EXPANSION * channels)
        self.conv2 = ConvNorm(_EXPANSION * channels, channels)
        nn.init.zeros_(self.conv2.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return self.conv2(F.gelu(self.conv1(x)))


class SqueezeExcite(nn.Module):
    """Scale each channel by a function of all channels' means ("Squeeze-and-Excitation", Hu et al., 2018).

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(_DIVISOR, (channels // _REDUCTION + _DIVISOR // 2) // _DIVISOR * _DIVISOR)
        self.fc1 = nn.Conv2d(channels, inner, kernel_size=1)
        self.fc2 = nn.Conv2d(inner, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class RepVitBlock(nn.Module):
    """Token mixer, squeeze-and-excitation in every other block, and channel mixer with a residual.

    Args:
        channels: channels of the map.
        excites: whether the block has squeeze-and-excitation.
    """

    def __init__(self, channels: int, *, excites: bool) -> None:
        super().__init__()
        self.token_mixer = TokenMixer(channels)
        self.se = SqueezeExcite(channels) if excites else nn.Identity()
        self.channel_mixer = ChannelMixer(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        x = self.se(self.token_mixer(x))
        return x + self.channel_mixer(x)


class Stem(nn.Module):
    """Two strided convolutions that reduce the image to a quarter of its side.

    Args:
        channels: channels of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, channels // 2, 3, stride=2)
        self.conv2 = ConvNorm(channels // 2, channels, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, channels, H / 4, W / 4)."""
        return self.conv2(F.gelu(self.conv1(images)))


class Downsample(nn.Module):
    """Step to half the side and more channels, with a block before it and a channel mixer after it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pre_block = RepVitBlock(in_channels, excites=False)
        self.spatial_downsample = ConvNorm(in_channels, in_channels, 3, stride=2, groups=in_channels)
        self.channel_downsample = ConvNorm(in_channels, out_channels)
        self.ffn = ChannelMixer(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / 2, W / 2)."""
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + self.ffn(x)


class Stage(nn.Module):
    """Blocks on maps of one size.

    Args:
        in_channels: channels of the stage before.
        channels: channels of this stage.
        depth: blocks.
        halves: whether the stage begins with a step to half the side.
    """

    def __init__(self, in_channels: int, channels: int, depth: int, *, halves: bool) -> None:
        super().__init__()
        self.downsample = Downsample(in_channels, channels) if halves else nn.Identity()
        self.blocks = nn.Sequential(*(RepVitBlock(channels, excites=i % 2 == 0) for i in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H', W')."""
        return self.blocks(self.downsample(x))


class RepVit(nn.Module):
    """The trunk: a stem and stages at strides 4, 8, 16 and 32.

    Args:
        channels: of each stage, finest first.
        depths: blocks of each stage.

    Raises:
        ValueError: there are not as many depths as stages.
    """

    def __init__(self, channels: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        if len(channels) != len(depths):
            raise ValueError(f"{len(channels)} stages of channels and {len(depths)} depths do not match.")
        self.channels = list(channels)
        self.body = nn.Module()  # the checkpoints' names begin with it
        self.body.stem = Stem(self.channels[0])
        before = [self.channels[0], *self.channels]
        for i, depth in enumerate(depths):
            self.body.add_module(f"stages_{i}", Stage(before[i], self.channels[i], depth, halves=i > 0))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode normalised images (B, 3, S, S).

        Returns:
            Maps (B, channels_i, S / stride_i, S / stride_i), finest first.
        """
        x, maps = images, []
        for part in self.body.children():
            x = part(x)
            maps.append(x)
        return maps[1:]  # without the stem's
