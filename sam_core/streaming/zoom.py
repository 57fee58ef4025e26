"""Clicks that begin an object, answered from close up as well.

A click says where a thing is, not how large. A network of coarse masks takes a part of it, or more than it, the more
often the smaller it shows. So the answer only tells where to look: windows around it, wide and narrow, are stretched to
the network's picture and asked the same, and the answers are averaged (zooming in: Sofiiuk et al., "f-BRS: Rethinking
Backpropagating Refinement for Interactive Segmentation", 2020, section 4). A prompt takes the time of two more images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.streaming.frames import Frame

_SIDES = (1.7, 2.5)  # of the windows, in sides of what was found
_LEAST, _MOST = 0.25, 0.9  # of a window's side, in sides of the picture; a larger one is no closer look
_BOUND = 32.0  # of the logits that are averaged


def zoomed(
    model: Sam2,
    encode: Callable[[Tensor], ImageFeatures],
    frame: Frame,
    points: Tensor,
    labels: Tensor,
    found: SamOutput,
) -> SamOutput:
    """Answer clicks from close up.

    Args:
        model: the network.
        encode: makes features of a picture (3, S, S).
        frame: what was clicked on.
        points: (K, 2) xy in px of the frame's picture.
        labels: (K,) 1 positive, 0 negative.
        found: what the network answered, one object.

    Returns:
        One mask: the mean of that answer and of those from close up; `found` itself where there is nothing to look at.
    """
    total = found.low_res.clamp(-_BOUND, _BOUND)
    looks = torch.ones_like(total)
    stride, places = model.image_size // model.mask_size, model.mask_size
    extent = _extent(found.low_res[0, 0] > 0, points[labels == 1] / stride)
    for top, left, side in _windows(extent, places):
        window = frame.picture[:, top * stride : (top + side) * stride, left * stride : (left + side) * stride]
        features = encode(model.resize(window.permute(1, 2, 0)[None])[0])
        corner = torch.tensor([left, top], device=points.device) * stride
        near = model.decode(
            model.embed_without_memory(features),
            features,
            ((points - corner) * (places / side))[None],
            labels[None],
            multimask=model.uses_multimask(len(points), begins=True),
        ).low_res.clamp(-_BOUND, _BOUND)
        logits = F.interpolate(near, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        total[:, :, top : top + side, left : left + side] += logits
        looks[:, :, top : top + side, left : left + side] += 1
    if (looks == 1).all():
        return found
    low_res = total / looks
    # The object pointer, too, is to be of this mask.
    output = model.decode(
        model.embed_without_memory(frame.features), frame.features, points[None], labels[None], low_res, multimask=False
    )
    visible = (output.object_score > 0)[:, :, None, None]
    return replace(output, low_res=torch.where(visible, low_res, output.low_res))


def _extent(mask: Tensor, points: Tensor) -> tuple[int, int, int, int] | None:
    """Return the first and the last column and row of a mask (h, w) and of points (K, 2) on it; None without a mask."""
    rows, columns = mask.nonzero(as_tuple=True)
    if not len(rows):
        return None
    xs, ys = (torch.cat((held.to(points), p)).int() for held, p in zip((columns, rows), points.unbind(1), strict=True))
    return int(xs.min()), int(xs.max()), int(ys.min()), int(ys.max())


def _windows(extent: tuple[int, int, int, int] | None, places: int) -> list[tuple[int, int, int]]:
    """Return top, left and side of the windows around an extent, in places of a mask of that many a side."""
    if extent is None:
        return []
    x0, x1, y0, y1 = extent
    longest = max(x1 - x0, y1 - y0) + 1
    sides = [max(round(scale * longest), round(_LEAST * places)) for scale in _SIDES]
    return [
        (_begin(y0 + y1, side, places), _begin(x0 + x1, side, places), side) for side in sides if side <= _MOST * places
    ]


def _begin(double_centre: int, side: int, places: int) -> int:
    """Return where a window begins along one axis."""
    return min(max((double_centre + 1 - side) // 2, 0), places - side)
