"""Initial weights of the decoder: queries on a grid, whose attention to the image is local."""

from __future__ import annotations

import math

import torch
from torch import nn

from sam_core.layers import MLP
from sam_core.sam3.network import ConceptNetwork

__all__ = ["initialise"]


def initialise(network: ConceptNetwork, side: float = 0.2) -> None:
    """Initialise the decoder, in place.

    The reference boxes of the queries form a grid over the picture, the box head predicts no offset at first, and the
    relative position bias falls off outside of a box, so that attention to the image begins local.

    Args:
        network: with random weights.
        side: width and height of the boxes, shares of the picture.
    """
    decoder = network.transformer.decoder
    boxes_out = decoder.bbox_embed.layers[-1]
    assert isinstance(boxes_out, nn.Linear)
    points = decoder.reference_points.weight
    columns = math.ceil(math.sqrt(len(points)))
    rows = math.ceil(len(points) / columns)
    index = torch.arange(len(points))
    centres = torch.stack(((index % columns + 0.5) / columns, (index // columns + 0.5) / rows), dim=1)
    with torch.no_grad():
        points.copy_(torch.cat((centres, torch.full_like(centres, side)), dim=1).logit())
        boxes_out.weight.zero_()
        boxes_out.bias.zero_()
        decoder.query_embed.weight.mul_(0.1)
        decoder.presence_token.weight.mul_(0.1)
    _look_at_parts(decoder.boxRPB_embed_x, across=True)
    _look_at_parts(decoder.boxRPB_embed_y, across=False)


@torch.no_grad()
def _look_at_parts(mlp: MLP, across: bool, steep: float = 6.0) -> None:
    """Make a bias MLP (distances from the near and the far edge of a box to heads) start as a position kernel.

    Outside of the box the bias falls off for every head. Within, the first nine heads attend to the nine parts of a
    3 x 3 grid over the box, so that together they represent a shape ("R-FCN", Dai et al., 2016, pools such parts); any
    others attend to the whole box.
    """
    first, last = mlp.layers[0], mlp.layers[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    # What hidden units measure: before the near edge, behind the far edge, from the near edge on, up to the far edge,
    # and right and left of the middle.
    measures = [(-1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (1.0, 1.0), (-1.0, -1.0)]
    first.weight[: len(measures)] = torch.tensor(measures)
    first.bias[: len(measures)] = 0.0
    last.weight.mul_(0.1)
    last.bias.zero_()
    last.weight[:, :2] = -steep
    for head in range(min(9, len(last.weight))):
        part = head % 3 if across else head // 3
        for unit in ((2,), (4, 5), (3,))[part]:  # near part, middle, far part
            last.weight[head, unit] = -steep
