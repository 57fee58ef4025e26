"""One trunk for a tracker and a detector: one set of weights, and one pass an image."""

from __future__ import annotations

import torch
from torch import Tensor

from sam_core.sam3.network import ConceptNetwork
from sam_core.sam3.vit import Vit


def share_trunk(network: ConceptNetwork, trunk: Vit, *, weights_matter: bool) -> bool:
    """Let a detector use a tracker's trunk in place of its own, if the two hold the same numbers.

    Args:
        network: the detector's network, with its weights on the CPU or where the trunk is.
        trunk: the tracker's, on its device and in its dtype.
        weights_matter: compare the numbers. Without, as for a detector of random weights, the shape decides.

    Returns:
        Whether it was done.
    """
    vision = network.backbone.vision_backbone
    mine, theirs = vision.trunk.state_dict(), trunk.state_dict()
    if vision.trunk.layout != trunk.layout or mine.keys() != theirs.keys():
        return False
    if not all(_equal(mine[name], tensor, weights_matter) for name, tensor in theirs.items()):
        return False
    vision.trunk = trunk
    return True


@torch.no_grad()
def _equal(one: Tensor, other: Tensor, weights_matter: bool) -> bool:
    if one.shape != other.shape:
        return False
    return not weights_matter or torch.equal(one.to(other.device, other.dtype), other)
