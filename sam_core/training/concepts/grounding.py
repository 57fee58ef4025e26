"""The network on a batch of pictures with several questions each, with intermediate outputs for deep supervision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam_core.sam3.decoder import DecodedQueries
from sam_core.sam3.network import ConceptNetwork
from sam_core.sam3.positions import centre_to_corners
from sam_core.sam3.roi_align import roi_align
from sam_core.sam3.text import PromptTokens
from sam_core.training.concepts.batches import ATTRIBUTES, ConceptBatch

__all__ = ["OUTLINE_CELLS", "BatchGrounding", "LayerOutput", "Readouts", "ground_batch", "segment"]


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """Outputs of one layer of the decoder for B questions: logits (B, Q), and the rest as in `DecodedQueries`."""

    logits: Tensor
    found: DecodedQueries


@dataclass(frozen=True, eq=False)
class BatchGrounding:
    """Outputs of the network for N pictures with P questions each, B = N * P.

    Attributes:
        levels: maps (N, C, h, w) of the pictures, from fine to coarse.
        layers: one entry a layer of the decoder, the last one is the answer.
        image: (B, h * w, C) image tokens, fused with the prompt.
        prompt: the B prompts.
        picture: (B,) the picture of each question.
    """

    levels: tuple[Tensor, ...]
    layers: tuple[LayerOutput, ...]
    image: Tensor
    prompt: PromptTokens
    picture: Tensor


def ground_batch(network: ConceptNetwork, batch: ConceptBatch) -> BatchGrounding:
    """Run image encoder, text encoder, fusion and decoder; masks cost much and are computed by `segment`."""
    features = network.encode_image(batch.images)
    count = len(batch.images)
    picture = torch.arange(count, device=batch.images.device).repeat_interleave(len(batch.phrase) // count)
    coarsest = features.levels[-1][picture]
    grid = (coarsest.shape[-2], coarsest.shape[-1])
    text = network.encode_text(batch.ids)
    words = PromptTokens(text.tokens[batch.phrase], text.valid[batch.phrase])
    prompt = words + network.geometry_encoder(batch.exemplars, coarsest, features.position)
    position = features.position.flatten(2).transpose(1, 2)
    fused = network.transformer.encoder(features.levels[-1].flatten(2).transpose(1, 2), position, prompt)
    layers = tuple(
        LayerOutput(network.dot_prod_scoring(found.queries, prompt), found)
        for found in network.transformer.decoder.refine(fused, position, prompt, grid)
    )
    return BatchGrounding(features.levels, layers, fused, prompt, picture)


def segment(
    network: ConceptNetwork, grounding: BatchGrounding, questions: Tensor, rows: Tensor, queries: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the masks of some queries.

    Args:
        network: the network.
        grounding: the outputs for the whole batch.
        questions: (K,) indices of the questions whose pixels are embedded.
        rows: (M,) for each mask its place in `questions`.
        queries: (M, C) features of its query.

    Returns:
        Mask logits (M, h, w), and (K, h, w) of the whole concept.
    """
    levels = tuple(level[grounding.picture[questions]] for level in grounding.levels)
    prompt = PromptTokens(grounding.prompt.tokens[questions], grounding.prompt.valid[questions])
    pixels, semantic = network.segmentation_head(levels, grounding.image[questions], prompt)
    embedded = network.segmentation_head.mask_predictor.mask_embed(queries)
    everywhere = torch.einsum("mc,kchw->mkhw", embedded, pixels)
    return everywhere[torch.arange(len(rows), device=rows.device), rows], semantic


OUTLINE_CELLS = 4  # cells of a feature along each side; a readout predicts which of them a thing covers
_ROI = 4  # cells along each side of a thing's box


class Readouts(nn.Module):
    """Linear readouts used in training only: attributes of things, outlines, extent of the concept.

    The image encoder and the queries learn colours and shapes from them long before they do from words.

    Args:
        channels: channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widths = [len(values) for values in ATTRIBUTES.values()]
        self.things = nn.Linear(channels * _ROI**2, sum(self.widths))
        self.queries = nn.Linear(channels, sum(self.widths))
        self.outlines = nn.Linear(channels, OUTLINE_CELLS**2)
        self.concept = nn.Linear(channels, 1)

    def look_at_things(self, level: Tensor, boxes: Tensor) -> Tensor:
        """Return logits (N, K, attributes' values) of what stands in boxes (N, K, 4), cx cy w h, on a level's map."""
        height, width = level.shape[-2:]
        corners = centre_to_corners(boxes) * boxes.new_tensor([width, height, width, height])
        return self.things(roi_align(level, corners, _ROI).flatten(2))

    def split(self, logits: Tensor) -> list[Tensor]:
        """Split logits (..., all values) by attribute."""
        return list(logits.split(self.widths, dim=-1))
