"""From a camera's pixels to the encoder's input."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

RGB = tuple[float, float, float]

# Of RGB in 0 … 1, as SAM 2's checkpoints expect it.
_MEAN: RGB = (0.485, 0.456, 0.406)
_STD: RGB = (0.229, 0.224, 0.225)


@lru_cache(maxsize=8)
def _scale_and_shift(mean: RGB, std: RGB, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what normalises pixels of 0 … 255 by one multiplication and one addition, (3,) float32 each."""
    with torch.inference_mode(False), torch.no_grad():
        centre, spread = (torch.tensor(x, dtype=torch.float64) for x in (mean, std))
        return (1 / (255 * spread)).float().to(device), (-centre / spread).float().to(device)


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images on their device, bilinearly with antialiasing, to whole levels.

    (Meta's loader resizes on the host, bicubically for JPEG folders, and to whole levels as well.) PyTorch's resize of
    8-bit images on a CPU is many times as fast as that of floats, and differs from it by at most one level.

    Args:
        images: (B, 3, H, W) uint8.
        size: height and width of the result in px.

    Returns:
        (B, 3, height, width), uint8 or whole float32 numbers, channels last.
    """
    if images.shape[-2:] == size:
        return images
    on_cpu = images.device.type == "cpu"
    source = images if on_cpu else images.float()
    result = F.interpolate(source, size=size, mode="bilinear", align_corners=False, antialias=True)
    return result if on_cpu else result.round()


def normalised(pictures: Tensor, dtype: torch.dtype, mean: RGB = _MEAN, std: RGB = _STD) -> Tensor:
    """Normalise what `resized` returns.

    Args:
        pictures: (B, 3, S, S) levels of RGB, 0 … 255.
        dtype: of the result; the arithmetic is float32.
        mean: of each colour in 0 … 1, which becomes 0.
        std: of each colour in 0 … 1, which becomes 1.

    Returns:
        The same shape, channels last.
    """
    scale, shift = _scale_and_shift(mean, std, pictures.device)
    rows = pictures.permute(0, 2, 3, 1)
    size = rows.shape[1:]
    # Whole rows of red, green, blue at once: a loop over three channels takes four times as long.
    normal = torch.addcmul(shift.repeat(size[1]), rows.flatten(2).float(), scale.repeat(size[1]))
    return normal.to(dtype).unflatten(2, size[1:]).permute(0, 3, 1, 2)
