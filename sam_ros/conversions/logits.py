"""Mask logits where they are asked for: under a click, and where masks overlap."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from sam_core import FrameResult

__all__ = ["logits_at"]


def logits_at(result: FrameResult, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float32]:
    """Return the mask logits of all N objects at K pixels, (N, K).

    They are those of `FrameResult.mask_logits` to rounding, without making them for the whole image.

    Args:
        result: A frame's result.
        rows: (K,) y in px of the image.
        columns: (K,) x in px.
    """
    low_res, (height, width) = result.low_res, result.image_size
    # Of pixel centres, -1 … 1 from edge to edge: what interpolation without aligned corners means by a place.
    places = np.stack((2 * np.add(columns, 0.5) / width - 1, 2 * np.add(rows, 0.5) / height - 1), axis=-1)
    grid = torch.from_numpy(places).to(low_res)[None, None]  # (1, 1, K, 2)
    sampled = F.grid_sample(low_res[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[0, :, 0].cpu().numpy()
