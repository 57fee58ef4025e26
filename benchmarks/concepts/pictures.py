"""The benchmark's pictures and questions: fixed seeds, and backgrounds that training never draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sam_core.training.concepts.questions import Question, QuestionMix, ask
from sam_core.training.concepts.scenes import ConceptScene, PictureSettings, draw_scene
from sam_core.training.photos import HELD_OUT_PHOTOS

__all__ = ["KINDS", "SETS", "Case", "make_case"]

SETS = ("seen", "unseen")
KINDS = ("phrase", "absent", "exemplar", "excluded")

_SETTINGS = PictureSettings(
    size=320, backgrounds=("planks", "cells", "rings"), photos=HELD_OUT_PHOTOS, photo_share=0.25
)
_NONE = QuestionMix(absent=0.0, exemplar=0.0, excluded=0.0, agreeing=0.0)
_MIXES = {
    "phrase": _NONE,
    "absent": replace(_NONE, absent=1.0),
    "exemplar": replace(_NONE, exemplar=1.0),
    "excluded": replace(_NONE, excluded=1.0),
}
_QUESTIONS = {"phrase": 4, "absent": 4, "exemplar": 1, "excluded": 1}
_TRIES = 60


@dataclass(frozen=True)
class Case:
    """A picture and its questions, by kind."""

    scene: ConceptScene
    questions: dict[str, list[Question]]


def make_case(which: str, seed: int) -> Case:
    """Draw a picture and its questions.

    Args:
        which: ``seen``: things and phrases of combinations of colour and shape that training draws; ``unseen``: most
            things, and all phrases about something present, of combinations that it does not.
        seed: number of the case.
    """
    unseen = which == "unseen"
    rng = np.random.default_rng([20_260_001, SETS.index(which), seed])
    scene = draw_scene(rng, replace(_SETTINGS, unseen=0.6 if unseen else 0.0))
    questions: dict[str, list[Question]] = {}
    for kind, count in _QUESTIONS.items():
        asked: dict[tuple[object, ...], Question] = {}
        for _ in range(_TRIES):
            question = ask(rng, scene, _MIXES[kind], unseen)
            if len(asked) < count and _fits(question, kind, unseen):
                asked.setdefault((question.concept, question.answer), question)
        questions[kind] = list(asked.values())
    return Case(scene, questions)


def _fits(question: Question, kind: str, unseen: bool) -> bool:
    """Return whether a drawn question is of the kind (a picture may allow none)."""
    if kind == "absent":
        return not question.answer
    if not question.answer:
        return False
    if kind == "exemplar":
        return all(question.positive) and len(question.boxes) > 0
    if kind == "excluded":
        return question.positive == (False,)
    return not question.boxes and question.concept is not None and question.concept.held_out == unseen
