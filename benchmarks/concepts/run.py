"""Run a detector on the benchmark's questions, and count."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.concepts.pictures import Case
from sam_core.sam3 import ConceptDetector, Detections, Exemplars, ImageState
from sam_core.training.concepts.evaluate import Tally, mask_ious
from sam_core.training.concepts.questions import EXEMPLARS_ALONE, Question
from sam_core.training.concepts.vocabulary import Concept

__all__ = ["Figures", "answer", "ask_case", "image_and_phrase_time"]


@dataclass
class Figures:
    """Counts over a set of cases.

    Attributes:
        words: phrases, present and absent.
        forms: the present ones among them, by what the phrase names.
        exemplar: a positive box alone.
        excluded: a phrase and a negative box, against what the box leaves over.
        shown: instances of what the negative box shows that the phrase alone found, and how many of them the box
            removed.
        kept: other instances that the phrase alone found, and how many of them remained.
    """

    words: Tally = field(default_factory=Tally)
    forms: dict[str, Tally] = field(default_factory=dict)
    exemplar: Tally = field(default_factory=Tally)
    excluded: Tally = field(default_factory=Tally)
    shown: tuple[int, int] = (0, 0)
    kept: tuple[int, int] = (0, 0)

    def summary(self) -> dict[str, float]:
        """Return the figures by name."""
        return {
            "f1": self.words.f1,
            "mask_iou": self.words.mean_iou,
            "false_alarms": self.words.false_alarms,
            "il_mcc": self.words.mcc,
            "exemplar_f1": self.exemplar.f1,
            "excluded_f1": self.excluded.f1,
            "negative_removes": self.shown[1] / self.shown[0] if self.shown[0] else float("nan"),
            "negative_keeps": self.kept[1] / self.kept[0] if self.kept[0] else float("nan"),
            **{f"f1 {form}": tally.f1 for form, tally in sorted(self.forms.items())},
        }


def form_of(concept: Concept) -> str:
    """Return which attributes a concept names: "colour shape", "texture shape", ..."""
    return " ".join(name for name in ("size", "texture", "colour", "shape") if getattr(concept, name) is not None)


def answer(detector: ConceptDetector, state: ImageState, question: Question, with_boxes: bool = True) -> Detections:
    """Answer one question at the default threshold, as the node does."""
    exemplars = None
    if question.boxes and with_boxes:
        height, width = state.image_size
        boxes = np.asarray(question.boxes) * (width, height, width, height)
        exemplars = Exemplars(boxes=boxes, box_labels=[int(p) for p in question.positive])
    phrases = [] if question.phrase == EXEMPLARS_ALONE else [question.phrase]
    return detector.detect(state, phrases, exemplars)[0]


def ask_case(detector: ConceptDetector, case: Case, figures: Figures) -> list[tuple[str, Question, Detections]]:
    """Answer all questions of a case, count, and return the answers for pictures."""
    state = detector.encode_image(case.scene.image)
    labels = torch.from_numpy(case.scene.labels).to(detector.device)
    answers: list[tuple[str, Question, Detections]] = []

    def masks_of(wanted: tuple[int, ...]) -> Tensor:
        return torch.stack([labels == k for k in wanted]) if wanted else torch.zeros(0, *labels.shape, dtype=torch.bool)

    for kind, questions in case.questions.items():
        for question in questions:
            found = answer(detector, state, question)
            truth = masks_of(question.answer)
            answers.append((kind, question, found))
            if kind in ("phrase", "absent"):
                figures.words.add(found.masks, truth)
                if kind == "phrase" and question.concept is not None:
                    figures.forms.setdefault(form_of(question.concept), Tally()).add(found.masks, truth)
            elif kind == "exemplar":
                figures.exemplar.add(found.masks, truth)
            else:
                figures.excluded.add(found.masks, truth)
                _count_removed(detector, state, case, question, found, figures, masks_of)
    return answers


def _count_removed(detector, state, case, question, found, figures, masks_of) -> None:  # type: ignore[no-untyped-def]
    """Compare a phrase with and without its negative box, thing by thing."""
    before = answer(detector, state, question, with_boxes=False)
    assert question.concept is not None
    for thing in case.scene.things:
        if not question.concept.means(thing.look):
            continue
        truth = masks_of((thing.label,))
        was = bool((mask_ious(before.masks, truth) >= 0.5).any())
        still = bool((mask_ious(found.masks, truth) >= 0.5).any())
        if was and thing.label in question.answer:
            figures.kept = (figures.kept[0] + 1, figures.kept[1] + still)
        elif was:
            figures.shown = (figures.shown[0] + 1, figures.shown[1] + (not still))


def image_and_phrase_time(detector: ConceptDetector, threads: int = 2, repeats: int = 20) -> float:
    """Return the median milliseconds of encoding a 640 x 480 picture and detecting a new phrase in it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    times = []
    for index in range(repeats + 3):
        begin = time.perf_counter()
        detector.detect(detector.encode_image(image), f"red ring {index}")[0].scores.cpu()
        times.append(time.perf_counter() - begin)
    torch.set_num_threads(before)
    return 1000 * statistics.median(times[3:])
