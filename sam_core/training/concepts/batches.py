"""Batches of pictures with several questions each, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from sam_core.sam3.geometry import GeometryPrompts
from sam_core.sam3.positions import corners_to_centre
from sam_core.sam3.tokenizer import PADDING, Tokenizer
from sam_core.training.concepts.questions import EXEMPLARS_ALONE, Question, QuestionMix, ask, box_of
from sam_core.training.concepts.scenes import ConceptScene, PictureSettings, draw_scene
from sam_core.training.concepts.vocabulary import COLOURS, SHAPES, SIZES, TEXTURES, Concept

__all__ = ["ATTRIBUTES", "ConceptBatch", "collate", "draw_batch"]

ATTRIBUTES = {"colour": tuple(COLOURS), "shape": SHAPES, "texture": TEXTURES, "size": SIZES}


@dataclass(frozen=True, eq=False)
class ConceptBatch:
    """N pictures with P questions each, in the order of the pictures.

    Attributes:
        images: (N, 3, S, S) normalised as the detector does.
        labels: (N, S, S) int64 truth; 0 background, 255 to be ignored.
        attributes: (N, 256, 4) int64: of each label colour, shape, texture and size plus 1; 0 for background, -1 for
            none of it.
        thing_boxes: (N, 256, 4) centre x, y, width, height of each label; zeros where there is none.
        ids: (U, L) token ids of the different phrases.
        phrase: (N * P,) which of them each question has.
        exemplars: of the N * P questions.
        named: (N * P, 4) int64: colour, shape, texture and size that a prompt means; -1 for any.
        answers: for each question the labels of its instances.
    """

    images: Tensor
    labels: Tensor
    attributes: Tensor
    thing_boxes: Tensor
    ids: Tensor
    phrase: Tensor
    exemplars: GeometryPrompts
    named: Tensor
    answers: tuple[tuple[int, ...], ...]

    def to(self, device: torch.device) -> ConceptBatch:
        """Move every tensor."""
        boxes = GeometryPrompts(*(getattr(self.exemplars, f.name).to(device) for f in fields(self.exemplars)))
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            attributes=self.attributes.to(device),
            thing_boxes=self.thing_boxes.to(device),
            ids=self.ids.to(device),
            phrase=self.phrase.to(device),
            exemplars=boxes,
            named=self.named.to(device),
        )


def _truth(scene: ConceptScene) -> tuple[Tensor, Tensor]:
    attributes = torch.full((256, len(ATTRIBUTES)), -1)
    attributes[0] = 0
    boxes = torch.zeros(256, 4)
    for thing in scene.things:
        for column, (name, values) in enumerate(ATTRIBUTES.items()):
            attributes[thing.label, column] = values.index(getattr(thing.look, name)) + 1
        boxes[thing.label] = corners_to_centre(torch.tensor(box_of(scene, thing.label)))
    return attributes, boxes


def _exemplars(questions: Sequence[Question]) -> GeometryPrompts:
    most = max((len(q.boxes) for q in questions), default=0)
    boxes = torch.zeros(len(questions), most, 4)
    labels = torch.zeros(len(questions), most, dtype=torch.long)
    valid = torch.zeros(len(questions), most, dtype=torch.bool)
    for row, question in enumerate(questions):
        for column, (box, positive) in enumerate(zip(question.boxes, question.positive, strict=True)):
            boxes[row, column] = corners_to_centre(torch.tensor(box))
            labels[row, column] = int(positive)
            valid[row, column] = True
    none = GeometryPrompts.none(len(questions), torch.device("cpu"))
    return replace(none, boxes=boxes, box_labels=labels, boxes_valid=valid)


def _named(question: Question, scene: ConceptScene) -> list[int]:
    """Return the attributes that a prompt means: those of its words, or of the thing in its box."""
    means = question.concept if all(question.positive) else None
    if question.phrase == EXEMPLARS_ALONE:
        shown = next(thing.look for thing in scene.things if thing.label in question.answer)
        means = Concept(shown.colour, shown.shape, shown.texture)
    values = [getattr(means, name, None) for name in ATTRIBUTES]
    return [-1 if v is None else options.index(v) for v, options in zip(values, ATTRIBUTES.values(), strict=True)]


def collate(
    scenes: Sequence[ConceptScene], questions: Sequence[Sequence[Question]], tokenizer: Tokenizer
) -> ConceptBatch:
    """Make a batch of pictures of one size with the same number of questions each, possibly none."""
    flat = [question for asked in questions for question in asked]
    phrases = sorted({question.phrase for question in flat})
    rows = [torch.tensor(tokenizer(phrase).ids) for phrase in phrases] or [torch.zeros(0, dtype=torch.long)]
    truth = [_truth(scene) for scene in scenes]
    pixels = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    return ConceptBatch(
        images=pixels.float() / 127.5 - 1,
        labels=torch.from_numpy(np.stack([scene.labels for scene in scenes])).long(),
        attributes=torch.stack([attributes for attributes, _ in truth]),
        thing_boxes=torch.stack([boxes for _, boxes in truth]),
        ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING),
        phrase=torch.tensor([phrases.index(question.phrase) for question in flat], dtype=torch.long),
        exemplars=_exemplars(flat),
        named=torch.tensor(
            [_named(question, scene) for scene, asked in zip(scenes, questions, strict=True) for question in asked],
            dtype=torch.long,
        ).reshape(-1, len(ATTRIBUTES)),
        answers=tuple(question.answer for question in flat),
    )


def draw_batch(
    rng: np.random.Generator,
    settings: PictureSettings,
    mix: QuestionMix,
    pictures: int,
    questions: int,
    tokenizer: Tokenizer,
) -> ConceptBatch:
    """Draw pictures and questions."""
    scenes = [draw_scene(rng, settings) for _ in range(pictures)]
    asked = [[ask(rng, scene, mix, settings.unseen > 0) for _ in range(questions)] for scene in scenes]
    return collate(scenes, asked, tokenizer)
