"""Click augmentation: clicks that begin an object are answered from several views of the image.

A click says where a thing is, not how large it is. A small network, asked once, often takes more than the thing, or a
part of it. So it is asked on the image, on its mirror image, and on a magnified part of it, and the answers are
averaged. Interactive segmentation does the same: Sofiiuk et al., "f-BRS: Rethinking Backpropagating Refinement for
Interactive Segmentation" (2020) magnify; "Reviving Iterative Training with Mask Guidance for Interactive Segmentation"
(2021) average over flips. Such a prompt takes the time of two more images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.streaming.history import Frame
from sam_core.streaming.network import ImageFeatures, SamOutput, TrackingNetwork

_PART = 2 / 3  # side of the magnified part, in sides of the image
_BOUND = 8.0  # of the logits that are averaged, so that no view outvotes the others by far


class ClickViews:
    """Average the network's answers over views.

    Args:
        network: the network.
        encode: from a resized image (3, S, S) to features.
    """

    def __init__(self, network: TrackingNetwork, encode: Callable[[Tensor], ImageFeatures]) -> None:
        self._network = network
        self._encode = encode

    def refine(self, frame: Frame, points: Tensor, labels: Tensor, answer: SamOutput) -> SamOutput:
        """Return the mean of an answer and of those from the other views.

        Args:
            frame: the frame that was clicked, with its image.
            points: (K, 2) xy in px of the network's input.
            labels: (K,) 1 positive, 0 negative.
            answer: what the network answered, one object.

        Returns:
            One mask. It is `answer` itself if the object is absent, or if the mean is empty or is said to be absent.
        """
        network, image = self._network, frame.image
        assert image is not None
        if not (answer.object_score > 0).item():
            return answer
        across, down = points.unbind(1)
        mirrored = torch.stack((network.image_size - 1 - across, down), dim=1)
        total = answer.low_res.clamp(-_BOUND, _BOUND) + self._ask(image.flip(-1), mirrored, labels).flip(-1)
        count = torch.full_like(total, 2.0)

        stride, side = network.image_size / network.mask_size, round(_PART * network.mask_size)  # 4, for SAM 3 3.5
        corner = _corner(points[labels == 1] / stride, side, network.mask_size)
        if corner is not None:
            left, top = corner
            first, last = (top * stride, left * stride), ((top + side) * stride, (left + side) * stride)
            rows, columns = (slice(round(a), round(b)) for a, b in zip(first, last, strict=True))
            part = image[:, rows, columns]
            part = network.resize(part.permute(1, 2, 0)[None])[0]
            places = (points - torch.tensor(corner, device=points.device) * stride) * (network.mask_size / side)
            size = (side, side)
            closer = self._ask(part, places, labels)
            closer = F.interpolate(closer, size=size, mode="bilinear", align_corners=False, antialias=True)
            total[:, :, top : top + side, left : left + side] += closer
            count[:, :, top : top + side, left : left + side] += 1
        low_res = total / count
        # The object pointer has to be of this mask, too.
        embedding = network.embed_without_memory(frame.features)
        output = network.decode(embedding, frame.features, points[None], labels[None], low_res, multimask=False)
        is_there = (low_res > 0).any() & (output.object_score > 0).all()
        return replace(output, low_res=low_res) if is_there.item() else answer

    def _ask(self, image: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return the bounded logits (1, 1, m, m) that the network answers on a view."""
        features = self._encode(image)
        embedding = self._network.embed_without_memory(features)
        multimask = self._network.uses_multimask(len(points), begins=True)
        output = self._network.decode(embedding, features, points[None], labels[None], multimask=multimask)
        return output.low_res.clamp(-_BOUND, _BOUND)


def _corner(points: Tensor, side: int, length: int) -> tuple[int, int] | None:
    """Return left and top of a square of an image around points (K, 2); None if they are too far apart, or none."""
    if not len(points):
        return None
    (x0, y0), (x1, y1) = points.amin(0).tolist(), points.amax(0).tolist()
    if max(x1 - x0, y1 - y0) >= side:
        return None
    left, top = (min(max(int((a + b - side) / 2), 0), length - side) for a, b in ((x0, x1), (y0, y1)))
    return left, top
