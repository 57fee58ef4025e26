"""Questions about a picture: phrases and exemplar boxes, and the instances that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sam_core.sam3.tokenizer import Tokenizer
from sam_core.training.checks import Share
from sam_core.training.concepts.scenes import ConceptScene, Thing
from sam_core.training.concepts.vocabulary import (
    ARTICLES,
    COLOUR_WORDS,
    COLOURS,
    NAMED_TEXTURES,
    PLURALS,
    SHAPE_WORDS,
    SIZE_WORDS,
    TEXTURE_WORDS,
    THING_WORDS,
    Concept,
)

__all__ = ["EXEMPLARS_ALONE", "Question", "QuestionMix", "ask", "phrase_of", "random_concept", "strange_phrase"]

EXEMPLARS_ALONE = "visual"  # SAM 3's words for "what the exemplars show"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class QuestionMix:
    """Shares of the kinds of questions; the rest are phrases that name something in the picture.

    Attributes:
        absent: phrases that nothing in the picture answers.
        strange: share of those with a word outside the vocabulary.
        exemplar: a positive box alone.
        excluded: a phrase and a negative box on one of its instances.
        agreeing: a phrase and a positive box on one of its instances.
        everything: "all things", "every object".
        sizes: let phrases name sizes.
    """

    absent: Share = 0.44
    strange: Share = 0.06
    exemplar: Share = 0.14
    excluded: Share = 0.08
    agreeing: Share = 0.04
    everything: Share = 0.02
    sizes: bool = True


@dataclass(frozen=True)
class Question:
    """One prompt and its answer.

    Attributes:
        phrase: words, or `EXEMPLARS_ALONE`.
        answer: labels of the instances; empty where the concept is absent.
        boxes: exemplars x1, y1, x2, y2 as shares of the picture.
        positive: for each box whether it shows an instance.
        concept: the meaning of the phrase; None for exemplars alone and strange words.
    """

    phrase: str
    answer: tuple[int, ...]
    boxes: tuple[Box, ...] = ()
    positive: tuple[bool, ...] = ()
    concept: Concept | None = None


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def phrase_of(rng: np.random.Generator, concept: Concept) -> str:
    """Return one of the phrases of a concept."""
    words: list[str] = []
    if concept.size is not None:
        words.append(_pick(rng, SIZE_WORDS[concept.size]))
    if concept.texture is not None:
        words.append(_pick(rng, TEXTURE_WORDS[concept.texture]))
    if len(words) == 2 and rng.random() < 0.3:
        words.reverse()
    if concept.colour is not None:
        words.append(_pick(rng, COLOUR_WORDS[concept.colour]))
    noun = _pick(rng, THING_WORDS if concept.shape is None else SHAPE_WORDS[concept.shape])
    article = _pick(rng, ARTICLES)
    if article == "all" or (article in ("", "the") and rng.random() < 0.3):
        noun = PLURALS.get(noun, noun + "s")
    return " ".join(filter(None, (article, *words, noun)))


def _forms(rng: np.random.Generator, sizes: bool) -> tuple[bool, bool, bool, bool]:
    """Draw which of colour, shape, texture, size a phrase names."""
    forms = (
        (True, True, False, False), (True, True, False, False), (True, True, False, False), (True, True, False, False),
        (False, True, False, False), (False, True, False, False), (True, False, False, False),
        (False, True, True, False), (True, True, True, False), (True, True, False, True), (False, True, False, True),
        (True, False, True, False), (True, True, True, True), (False, False, True, False),
    )  # fmt: skip
    colour, shape, texture, size = forms[int(rng.integers(len(forms)))]
    return colour, shape, texture, size and sizes


def _about(rng: np.random.Generator, thing: Thing, sizes: bool) -> Concept:
    """Return a concept with some of the attributes of a thing."""
    colour, shape, texture, size = _forms(rng, sizes)
    look = thing.look
    concept = Concept(
        look.colour if colour else None,
        look.shape if shape and look.shape in SHAPE_WORDS else None,
        look.texture if texture and look.texture in NAMED_TEXTURES else None,
        look.size if size and look.size in SIZE_WORDS else None,
    )
    return replace(concept, colour=look.colour) if concept == Concept() else concept


def random_concept(rng: np.random.Generator, sizes: bool = True) -> Concept:
    """Return a random concept."""
    colour, shape, texture, size = _forms(rng, sizes)
    return Concept(
        _pick(rng, tuple(COLOURS)) if colour else None,
        _pick(rng, tuple(SHAPE_WORDS)) if shape else None,
        _pick(rng, NAMED_TEXTURES) if texture else None,
        _pick(rng, tuple(SIZE_WORDS)) if size else None,
    )


def _nearly(rng: np.random.Generator, things: Sequence[Thing], sizes: bool) -> Concept:
    """Return a concept that differs from a thing in one attribute, which often is that of another thing."""
    concept = _about(rng, things[int(rng.integers(len(things)))], sizes)
    other = things[int(rng.integers(len(things)))].look
    named = [name for name in ("colour", "shape", "texture", "size") if getattr(concept, name) is not None]
    wrong = _pick(rng, named)
    values = {
        "colour": tuple(COLOURS),
        "shape": tuple(SHAPE_WORDS),
        "texture": NAMED_TEXTURES,
        "size": tuple(SIZE_WORDS),
    }[wrong]
    value = getattr(other, wrong)
    if value not in values or rng.random() < 0.5:
        value = _pick(rng, values)
    return replace(concept, **{wrong: value})


@lru_cache(maxsize=1)
def _strange_words() -> tuple[str, ...]:
    """List words of CLIP's vocabulary that are not in ours."""
    ours = {w for words in (COLOUR_WORDS, SHAPE_WORDS, TEXTURE_WORDS, SIZE_WORDS) for v in words.values() for w in v}
    ours |= {w + "s" for w in ours} | {w + "es" for w in ours} | set(THING_WORDS) | set(ARTICLES) | {EXEMPLARS_ALONE}
    ours |= {"circular", "gray", "grey", "brown", "shape", "shapes", "things", "objects", "item", "plus"}
    tokenizer = Tokenizer()
    words = (tokenizer.decode([token]) for token in range(900, 20000))
    return tuple(w for w in words if len(w) > 3 and w.isascii() and w.isalpha() and w not in ours)


def strange_phrase(rng: np.random.Generator) -> str:
    """Return a phrase that no picture answers: a noun outside the vocabulary, perhaps with a known colour."""
    colour = _pick(rng, tuple(COLOURS)) if rng.random() < 0.6 else ""
    return " ".join(filter(None, (_pick(rng, ARTICLES), colour, _pick(rng, _strange_words()))))


def _absent(rng: np.random.Generator, scene: ConceptScene, mix: QuestionMix, unseen: bool) -> Question:
    if rng.random() < mix.strange:
        return Question(strange_phrase(rng), ())
    for _ in range(40):
        near = scene.things and rng.random() < 0.75
        concept = _nearly(rng, scene.things, mix.sizes) if near else random_concept(rng, mix.sizes)
        if concept.held_out and not unseen:
            continue
        if not any(concept.means(thing.look) for thing in scene.things):
            return Question(phrase_of(rng, concept), (), concept=concept)
    return Question(strange_phrase(rng), ())


def box_of(scene: ConceptScene, label: int) -> Box:
    """Return the box around a thing's visible pixels, as shares of the picture."""
    rows, columns = np.nonzero(scene.labels == label)
    size = scene.labels.shape[0]
    return (
        float(columns.min() / size), float(rows.min() / size), float((columns.max() + 1) / size),
        float((rows.max() + 1) / size),
    )  # fmt: skip


def _shown(rng: np.random.Generator, scene: ConceptScene, label: int, jitter: float = 0.07) -> Box:
    """Return a thing's box, drawn inexactly as by a user."""
    box: NDArray[np.float64] = np.asarray(box_of(scene, label))
    extent = np.tile(box[2:] - box[:2], 2)
    x1, y1, x2, y2 = (box + extent * rng.uniform(-jitter, jitter, 4)).clip(0, 1)
    return (float(x1), float(y1), float(x2), float(y2))


def _alike(things: Sequence[Thing], thing: Thing) -> tuple[int, ...]:
    return tuple(t.label for t in things if t.kind == thing.kind)


def _clear(things: Sequence[Thing], thing: Thing) -> bool:
    """Return whether a thing's look is unambiguous: no other kind has both its colour and its shape."""
    same = (thing.look.colour, thing.look.shape)
    return all(t.kind == thing.kind or (t.look.colour, t.look.shape) != same for t in things)


def ask(rng: np.random.Generator, scene: ConceptScene, mix: QuestionMix, unseen: bool = False) -> Question:
    """Draw a question about a picture.

    Args:
        rng: source of all randomness.
        scene: the picture.
        mix: how often which form is drawn.
        unseen: let absent concepts be of the combinations that training never sees.
    """
    form = float(rng.random())
    if form < mix.absent or not scene.things:
        return _absent(rng, scene, mix, unseen)
    form -= mix.absent
    if form < mix.everything:
        return Question(phrase_of(rng, Concept()), tuple(t.label for t in scene.things), concept=Concept())
    form -= mix.everything
    thing = scene.things[int(rng.integers(len(scene.things)))]
    if form < mix.exemplar and _clear(scene.things, thing):
        alike = _alike(scene.things, thing)
        chosen = rng.permutation(alike)[: 2 if rng.random() < 0.2 else 1]
        boxes = tuple(_shown(rng, scene, int(label)) for label in chosen)
        return Question(EXEMPLARS_ALONE, alike, boxes, (True,) * len(boxes))
    form -= mix.exemplar
    if 0 <= form < mix.excluded and _clear(scene.things, thing):
        return _excluded(rng, scene, thing, mix)
    concept = _about(rng, thing, mix.sizes)
    answer = tuple(t.label for t in scene.things if concept.means(t.look))
    boxes = (_shown(rng, scene, thing.label),) if mix.excluded <= form < mix.excluded + mix.agreeing else ()
    return Question(phrase_of(rng, concept), answer, boxes, (True,) * len(boxes), concept)


def _excluded(rng: np.random.Generator, scene: ConceptScene, thing: Thing, mix: QuestionMix) -> Question:
    """Return a question with a negative box on one of the things that its phrase names."""
    alike = _alike(scene.things, thing)
    wanted = 0 if rng.random() < 0.2 else 1
    for _ in range(8):
        concept = _about(rng, thing, mix.sizes)
        rest = tuple(t.label for t in scene.things if concept.means(t.look) and t.label not in alike)
        if len(rest) >= wanted:
            break
    return Question(phrase_of(rng, concept), rest, (_shown(rng, scene, thing.label),), (False,), concept)
