"""A digest of a network's weights, whatever file they came from and whatever dtype they have now."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

__all__ = ["digest_of"]


def digest_of(model: nn.Module) -> str:
    """Return the SHA-256 of a network's parameters and buffers by name, in hexadecimal digits.

    They are rounded to bfloat16 first, so that a network in float32 and the same one in bfloat16 have one digest; in
    float16 it may have another. It takes a second or so for each gigabyte.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        rounded = tensor.detach().to(torch.bfloat16) if tensor.is_floating_point() else tensor.detach()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(rounded.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
