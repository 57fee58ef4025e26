"""RoI-align: the mean of bilinear samples in each cell of a grid over a box.

"Mask R-CNN" (He et al., 2017, section 3), in the convention of torchvision with `aligned=False` and
`sampling_ratio=-1`: pixel centres at whole coordinates, boxes at least one pixel wide and high, and as many samples
in a cell as the cell covers pixels, rounded up. Bilinear weights of a regular grid separate into rows and columns,
so the whole operation is two small matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor


def roi_align(features: Tensor, boxes: Tensor, output_size: int) -> Tensor:
    """Pool features under boxes.

    Args:
        features: (B, C, H, W).
        boxes: (B, K, 4) x1, y1, x2, y2 in pixels of the features.
        output_size: cells along each side of a box.

    Returns:
        (B, K, C, output_size, output_size) in the features' dtype; the arithmetic is float32.
    """
    height, width = features.shape[-2:]
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    columns = _axis_weights(x1, x2, output_size, width)
    rows = _axis_weights(y1, y2, output_size, height)
    pooled = torch.einsum("bkph,bchw,bkqw->bkcpq", rows, features.float(), columns)
    return pooled.to(features.dtype)


def _axis_weights(start: Tensor, stop: Tensor, cells: int, size: int) -> Tensor:
    """Return the weight of each pixel of an axis in each cell: (B, K, cells, size), from starts and stops (B, K)."""
    extent = (stop - start).clamp(min=1.0)
    cell = extent / cells
    samples = torch.ceil(extent / cells)  # in each cell
    most = int(samples.max().item()) if samples.numel() else 1
    step = torch.arange(most, device=start.device, dtype=torch.float32)
    counts = step < samples[..., None]  # (B, K, most)
    within = (step + 0.5) * (cell / samples)[..., None]
    first = start[..., None] + torch.arange(cells, device=start.device) * cell[..., None]  # (B, K, cells)
    place = first[..., None] + within[:, :, None, :]  # (B, K, cells, most)
    counts = counts[:, :, None, :] & (place >= -1) & (place <= size)
    place = place.clamp(0, size - 1)
    # The hat function is the bilinear weight of a pixel: 1 at its centre, 0 one pixel away.
    pixels = torch.arange(size, device=start.device, dtype=torch.float32)
    weights = (1 - (place[..., None] - pixels).abs()).clamp(min=0) * counts[..., None]
    return weights.sum(dim=-2) / samples[..., None, None]
