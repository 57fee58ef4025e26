"""Layer normalisation over channels, of tokens and of maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_REGISTER = 16  # channels; with a rest, PyTorch's bfloat16 kernel for CPUs takes twice as long as its float32 one


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm`, in float32 where PyTorch's kernel for bfloat16 is the slower one."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise tokens (..., C); the result has the dtype of `x`."""
        if x.dtype != torch.bfloat16 or x.device.type != "cpu" or x.shape[-1] % _REGISTER == 0:
            return super().forward(x)
        return F.layer_norm(x.float(), x.shape[-1:], self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


class LayerNorm2d(nn.Module):
    """Normalise each pixel of a (B, C, H, W) map over its channels, then scale and shift per channel."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised map, same shape and dtype as `x` (B, C, H, W)."""
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        variance = centred.square().mean(1, keepdim=True)
        normed = centred * torch.rsqrt(variance + self.eps)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]

    def tokens(self, x: Tensor) -> Tensor:
        """Do the same to tokens (..., C)."""
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
