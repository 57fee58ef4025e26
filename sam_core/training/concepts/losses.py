"""Losses of DETR and SAM 3: class, boxes, presence and masks, and those of the training-only readouts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam3.network import ConceptNetwork
from sam_core.training.concepts.batches import ATTRIBUTES, ConceptBatch
from sam_core.training.concepts.grounding import (
    OUTLINE_CELLS,
    BatchGrounding,
    LayerOutput,
    Readouts,
    ground_batch,
    segment,
)
from sam_core.training.concepts.matching import Matches, Targets, generalised_iou, match
from sam_core.training.mask_losses import dice_loss, focal_loss

__all__ = ["ConceptLossWeights", "ConceptLosses", "batch_losses", "layer_losses", "targets_of"]


@dataclass(frozen=True)
class ConceptLossWeights:
    """Weights of the parts.

    Attributes:
        classes: focal loss of the queries.
        l1: L1 distance of the boxes.
        giou: 1 - generalised IoU of the boxes.
        presence: cross-entropy of the presence token.
        focal: focal loss of the masks.
        dice: dice loss of the masks.
        semantic: cross-entropy and dice of the mask of the whole concept.
        concept: readout of the fused image: how much of each cell the concept covers.
        things: readout of the image features: attributes of each thing.
        queries: the same readout of the matched queries of every layer.
        prompts: the same readout of the pooled prompts: attributes that they mean. Words, boxes and queries get a
            common feature space from it before scores are useful.
        outlines: readout of the image features: where within each place a thing is.
        anchor: weight of a query's starting place in the matching.
        alpha: weight of the positive class in the focal loss of the queries.
        gamma: its exponent.
        mask_alpha: the same weight in the focal loss of the masks. Above one half, uncertain pixels are more
            often foreground, which raises the IoU (of masks trained with 0.5, a threshold of -1 was better than 0).
        mask_questions: questions of a batch whose masks are supervised; those that have an instance go first.
    """

    classes: float = 2.0
    l1: float = 5.0
    giou: float = 2.0
    presence: float = 1.0
    focal: float = 20.0
    dice: float = 1.0
    semantic: float = 1.0
    concept: float = 1.0
    things: float = 4.0
    queries: float = 3.0
    prompts: float = 2.0
    outlines: float = 6.0
    anchor: float = 5.0
    alpha: float = 0.5
    gamma: float = 1.0
    mask_alpha: float = 0.5
    mask_questions: int = 8


@dataclass(frozen=True, eq=False)
class ConceptLosses:
    """The loss of a batch: () weighted sum, differentiable, and unweighted parts by name."""

    total: Tensor
    parts: dict[str, float]


def targets_of(batch: ConceptBatch, picture: Tensor) -> Targets:
    """Pad the answers of a batch."""
    most = max(1, max(len(answer) for answer in batch.answers))
    labels = torch.tensor([[*answer, *[0] * (most - len(answer))] for answer in batch.answers], device=picture.device)
    return Targets(batch.thing_boxes[picture[:, None], labels], labels)


def layer_losses(
    layer: LayerOutput, matches: Matches, targets: Targets, weights: ConceptLossWeights
) -> dict[str, Tensor]:
    """Return the unweighted losses of one layer of the decoder, each () and differentiable."""
    truth = torch.zeros_like(layer.logits)
    truth[matches.question, matches.query] = 1.0
    count = max(len(matches.question), 1)
    # The focal loss of `training.losses` is a mean; DETR's is a sum over the number of instances.
    classes = focal_loss(layer.logits, truth, weights.alpha, weights.gamma) * truth.numel() / count
    boxes = layer.found.boxes[matches.question, matches.query]
    wanted = targets.boxes[matches.question, matches.instance]
    present = targets.valid.any(1).float()
    return {
        "classes": classes,
        "l1": (boxes - wanted).abs().sum() / count,
        "giou": (1 - generalised_iou(boxes, wanted)).sum() / count,
        "presence": F.binary_cross_entropy_with_logits(layer.found.presence, present),
    }


def _coverage(batch: ConceptBatch, stride: int) -> Tensor:
    """Return how much of each cell each label covers, (N, labels, S / stride, S / stride)."""
    most = 1 + max(1, max((label for answer in batch.answers for label in answer), default=1))
    planes = torch.stack([batch.labels == label for label in range(most)], dim=1).float()
    return F.avg_pool2d(planes, stride)


def _mask_losses(
    network: ConceptNetwork, grounding: BatchGrounding, batch: ConceptBatch, matches: Matches, targets: Targets,
    weights: ConceptLossWeights, generator: torch.Generator,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the losses of masks of some questions: those that have an instance, then, if there is room, others."""
    present = targets.valid.any(1)
    priority = torch.rand(len(present), generator=generator).to(present.device) + present.float()
    questions = priority.argsort(descending=True)[: weights.mask_questions]
    place = torch.full((len(present),), -1, device=present.device)
    place[questions] = torch.arange(len(questions), device=present.device)
    chosen = place[matches.question] >= 0
    question, query, instance = matches.question[chosen], matches.query[chosen], matches.instance[chosen]
    features = grounding.layers[-1].found.queries[question, query]
    masks, semantic = segment(network, grounding, questions, place[question], features)
    coverage = _coverage(batch, batch.labels.shape[-1] // semantic.shape[-1])
    wanted = (coverage[grounding.picture[question], targets.labels[question, instance]] > 0.5).float()
    named = torch.zeros(len(questions), coverage.shape[1], device=present.device)
    named.scatter_(1, targets.labels[questions], 1.0)
    named[:, 0] = 0
    whole = (torch.einsum("kl,klhw->khw", named, coverage[grounding.picture[questions]]) > 0.5).float()
    semantic = semantic.float()
    cross = F.binary_cross_entropy_with_logits(semantic, whole)
    count = max(len(question), 1)
    return {
        "focal": focal_loss(masks.float(), wanted, weights.mask_alpha, 2.0).sum() / count,
        "dice": dice_loss(masks.float(), wanted).sum() / count,
        "semantic": 2 * cross + dice_loss(semantic, whole).mean(),
    }


def _look_loss(readouts: Readouts, logits: Tensor, truth: Tensor) -> tuple[Tensor, float]:
    """Compare the predicted attributes of things, (..., values), with their attributes, (..., 4); -1 does not count.

    Returns:
        The mean cross-entropy of the attributes, and how often the shape is right.
    """
    parts = [
        F.cross_entropy(
            predicted.float().flatten(0, -2), truth[..., column].flatten(), ignore_index=-1, reduction="sum"
        )
        / (truth[..., column] >= 0).sum().clamp(min=1)
        for column, predicted in enumerate(readouts.split(logits))
    ]
    shape = list(ATTRIBUTES).index("shape")
    counts = truth[..., shape] >= 0
    right = readouts.split(logits)[shape].argmax(-1) == truth[..., shape]
    return torch.stack(parts).mean(), float(right[counts].float().mean()) if counts.any() else math.nan


def _thing_losses(readouts: Readouts, levels: tuple[Tensor, ...], batch: ConceptBatch) -> dict[str, Tensor]:
    """Return the losses of readouts on the image features alone: which thing is where."""
    most = max(1, int((batch.attributes[..., 0] > 0).sum(1).max()))
    counted = slice(1, 1 + most + 4)  # labels of things, a few more for those that do not count
    boxes = batch.thing_boxes[:, counted]
    truth = (batch.attributes[:, counted] - 1).clamp(min=-1)
    loss, shape = _look_loss(readouts, readouts.look_at_things(levels[-1], boxes), truth)
    return {
        "things": loss,
        "outlines": _outline_loss(readouts, levels, batch),
        "shape_right": torch.tensor(shape),
    }


def _outline_loss(readouts: Readouts, levels: tuple[Tensor, ...], batch: ConceptBatch) -> Tensor:
    """Return the loss of the outlines readout: which parts of each cell of the coarsest level things cover."""
    level = levels[-1]
    covered = F.adaptive_avg_pool2d((batch.labels > 0).float()[:, None], OUTLINE_CELLS * level.shape[-1])
    wanted = F.pixel_unshuffle(covered, OUTLINE_CELLS).permute(0, 2, 3, 1)
    predicted = readouts.outlines(level.permute(0, 2, 3, 1)).float()
    return F.binary_cross_entropy_with_logits(predicted, wanted)


def _concept_loss(readouts: Readouts, grounding: BatchGrounding, batch: ConceptBatch, targets: Targets) -> Tensor:
    """Return the loss of the readout of the fused image: how much of each cell the concept covers."""
    side = grounding.levels[-1].shape[-1]
    coverage = _coverage(batch, batch.labels.shape[-1] // side)
    named = torch.zeros(len(targets.labels), coverage.shape[1], device=coverage.device)
    named.scatter_(1, targets.labels, 1.0)
    named[:, 0] = 0
    covered = torch.einsum("bl,blhw->bhw", named, coverage[grounding.picture])
    predicted = readouts.concept(grounding.image).squeeze(-1).unflatten(1, (side, side)).float()
    return (
        2 * F.binary_cross_entropy_with_logits(predicted, covered.clamp(max=1)) + dice_loss(predicted, covered).mean()
    )


def _weighted(parts: dict[str, Tensor], weights: ConceptLossWeights) -> Tensor:
    return torch.stack([getattr(weights, n) * v for n, v in parts.items() if not n.endswith("right")]).sum()


def batch_losses(
    network: ConceptNetwork,
    readouts: Readouts | None,
    batch: ConceptBatch,
    weights: ConceptLossWeights,
    generator: torch.Generator,
) -> ConceptLosses:
    """Run the network on a batch and compare: every layer of the decoder, then masks and readouts.

    Without questions, only the image encoder runs, and is trained by the readouts.
    """
    if not batch.answers:
        if readouts is None:
            raise ValueError("a batch without questions has no loss but the readouts'.")
        looks = _thing_losses(readouts, network.encode_image(batch.images).levels, batch)
        return ConceptLosses(_weighted(looks, weights), {name: float(value.detach()) for name, value in looks.items()})
    grounding = ground_batch(network, batch)
    targets = targets_of(batch, grounding.picture)
    anchors = network.transformer.decoder.reference_points.weight.float().sigmoid()
    parts: dict[str, Tensor] = {}
    total = batch.images.new_zeros(())
    for layer in grounding.layers:
        matches = match(layer.logits, layer.found.boxes, anchors, targets, weights.anchor)
        parts = layer_losses(layer, matches, targets, weights)  # the last layer's are shown
        if readouts is not None:
            picture, label = grounding.picture[matches.question], targets.labels[matches.question, matches.instance]
            predicted = readouts.queries(layer.found.queries[matches.question, matches.query])
            parts["queries"], right = _look_loss(readouts, predicted, batch.attributes[picture, label] - 1)
            parts["query_shape_right"] = torch.tensor(right)
        total = total + _weighted(parts, weights)
    rest = _mask_losses(network, grounding, batch, matches, targets, weights, generator)
    if readouts is not None:
        rest |= _thing_losses(readouts, grounding.levels, batch)
        prompt = readouts.queries(network.dot_prod_scoring.pool(grounding.prompt))
        if (batch.named >= 0).any():
            rest["prompts"], right = _look_loss(readouts, prompt, batch.named)
            rest["prompt_shape_right"] = torch.tensor(right)
        rest["concept"] = _concept_loss(readouts, grounding, batch, targets)
    total = total + _weighted(rest, weights)
    return ConceptLosses(total, {name: float(value.detach()) for name, value in (parts | rest).items()})
