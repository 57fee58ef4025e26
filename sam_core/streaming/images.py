"""A camera's image as a tensor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.errors import ImageError


def image_tensor(image: NDArray[np.uint8] | Tensor) -> Tensor:
    """View an image as a (H, W, 3) uint8 tensor, copying only where its memory cannot be shared.

    Args:
        image: (H, W, 3) uint8 RGB; an array of any strides, or a tensor on any device.

    Raises:
        ImageError: not such an image, or one without pixels.
    """
    if not isinstance(image, (np.ndarray, Tensor)):
        raise ImageError(
            f"An image must be a NumPy array or a tensor, not {type(image).__name__}: use numpy.asarray, and for a PIL "
            'image numpy.asarray(image.convert("RGB")).'
        )
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ImageError(f"An image must be uint8, not {image.dtype}.")
        image = np.ascontiguousarray(image)
        image = torch.from_numpy(image if image.flags.writeable else image.copy())
    if image.dtype != torch.uint8:
        raise ImageError(f"An image must be uint8, not {image.dtype}.")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"An image must be (height, width, 3) RGB, not {tuple(image.shape)}.")
    if image.numel() == 0:
        raise ImageError(f"The image is empty: {image.shape[1]}×{image.shape[0]} px.")
    return image.contiguous()
