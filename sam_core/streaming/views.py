"""Clicks that begin an object, answered from several views of the picture.

A click says where a thing is, not how large. A network of coarse masks, asked once, often takes more than the thing,
or a part of it. So it is asked three times: on the picture, on its mirror image, and on a part of it from closer up
(as interactive segmentation does: Sofiiuk et al., "f-BRS: Rethinking Backpropagating Refinement for Interactive
Segmentation", 2020, on zooming in; "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", 2021,
on averages over flips). The answers are averaged. Such a prompt takes the time of two more images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.streaming.frames import Frame

_SIDE = 2 / 3  # of the part, in sides of the picture
_BOUND = 8.0  # of the logits that are averaged: no view outvotes the others by far


def answer_from_views(
    model: Sam2,
    encode: Callable[[Tensor], ImageFeatures],
    frame: Frame,
    points: Tensor,
    labels: Tensor,
    answer: SamOutput,
) -> SamOutput:
    """Answer clicks from other views, too.

    Args:
        model: the network.
        encode: makes features of a picture (3, S, S).
        frame: what was clicked on.
        points: (K, 2) xy in px of the frame's picture.
        labels: (K,) 1 positive, 0 negative.
        answer: what the network answered, one object.

    Returns:
        One mask: the mean of that answer and the other ones; `answer` itself where the object is not in the picture, or
        where that mean is empty or is said not to be there.
    """

    def ask(picture: Tensor, places: Tensor) -> Tensor:
        features = encode(picture)
        embedding = model.embed_without_memory(features)
        multimask = model.uses_multimask(len(places), begins=True)
        return model.decode(embedding, features, places[None], labels[None], multimask=multimask).low_res

    if not (answer.object_score > 0).item():
        return answer
    across, down = points.unbind(1)
    mirrored = ask(frame.picture.flip(-1), torch.stack((model.image_size - 1 - across, down), dim=1)).flip(-1)
    total = answer.low_res.clamp(-_BOUND, _BOUND) + mirrored.clamp(-_BOUND, _BOUND)
    count = torch.full_like(total, 2.0)

    stride = model.image_size // model.mask_size
    side = round(_SIDE * model.mask_size)
    corner = _corner(points[labels == 1] / stride, side, model.mask_size)
    if corner is not None:
        left, top = corner
        part = frame.picture[:, top * stride : (top + side) * stride, left * stride : (left + side) * stride]
        places = (points - torch.tensor(corner, device=points.device) * stride) * (model.mask_size / side)
        closer = ask(model.resize(part.permute(1, 2, 0)[None])[0], places).clamp(-_BOUND, _BOUND)
        closer = F.interpolate(closer, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        total[:, :, top : top + side, left : left + side] += closer
        count[:, :, top : top + side, left : left + side] += 1
    low_res = total / count
    # The object pointer, too, is to be of this mask.
    embedding = model.embed_without_memory(frame.features)
    output = model.decode(embedding, frame.features, points[None], labels[None], low_res, multimask=False)
    is_there = (low_res > 0).any() & (output.object_score > 0).all()
    return replace(output, low_res=low_res) if is_there.item() else answer


def _corner(points: Tensor, side: int, length: int) -> tuple[int, int] | None:
    """Return left and top of a square of a picture around points (K, 2); None where they are too far apart, or none."""
    if not len(points):
        return None
    (x0, y0), (x1, y1) = points.amin(0).tolist(), points.amax(0).tolist()
    if max(x1 - x0, y1 - y0) >= side:
        return None
    left, top = (min(max(int((a + b - side) / 2), 0), length - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top
