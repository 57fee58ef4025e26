"""From a camera's picture to the network's input."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_core.errors import ImageError


def prepare_image(image: NDArray[np.uint8] | Tensor, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Resize a picture to the network's square, regardless of its aspect ratio, and normalise it to [-1, 1].

    As the reference does: bilinear with antialiasing, rounded to whole grey levels before the normalisation.

    Args:
        image: (H, W, 3) uint8 RGB, any strides.
        size: side of the square in pixels.
        device: where to work.
        dtype: of the result; the arithmetic is float32.

    Returns:
        (1, 3, size, size).

    Raises:
        ImageError: not an (H, W, 3) uint8 picture, or an empty one.
    """
    if not isinstance(image, (np.ndarray, Tensor)):
        raise ImageError(f"An image must be a NumPy array or a tensor, not {type(image).__name__}.")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype not in (np.uint8, torch.uint8):
        raise ImageError(f"An image must be (H, W, 3) uint8 RGB and not empty, not {tuple(image.shape)} {image.dtype}.")
    if isinstance(image, np.ndarray):
        image = np.ascontiguousarray(image)
        tensor = torch.from_numpy(image if image.flags.writeable else image.copy())
    else:
        tensor = image
    pixels = tensor.to(device).permute(2, 0, 1)[None].float()
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255)
    return (pixels / 127.5 - 1).to(dtype)
