"""Pictures and questions of the detector's training: the same for a seed, true, and without what is held out."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.concepts.pictures import SETS, make_case
from sam_core.sam3.tokenizer import Tokenizer
from sam_core.synthetic import DemoScene
from sam_core.training.concepts.batches import ATTRIBUTES, collate, draw_batch
from sam_core.training.concepts.questions import EXEMPLARS_ALONE, QuestionMix, ask, box_of, phrase_of, random_concept
from sam_core.training.concepts.scenes import ConceptScene, PictureSettings, draw_scene
from sam_core.training.concepts.settings import load_concept_settings
from sam_core.training.concepts.vocabulary import (
    COLOURS,
    HELD_OUT,
    PLURALS,
    SHAPE_WORDS,
    SHAPES,
    SIZE_WORDS,
    TEXTURE_WORDS,
    THING_WORDS,
    Concept,
    Look,
)

_PICTURES = PictureSettings(size=96, zoom=1.5, photo_share=0.0)


def _scenes(count: int, settings: PictureSettings = _PICTURES, seed: int = 0) -> list[ConceptScene]:
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, settings) for _ in range(count)]


def test_a_seed_gives_the_same_pictures_and_questions() -> None:
    first, again, other = (_scenes(4, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.labels, b.labels)
        assert a.things == b.things
    assert not np.array_equal(first[0].image, other[0].image)
    drawn = [[ask(np.random.default_rng(k), scene, QuestionMix()) for k in range(8)] for scene in first]
    assert drawn == [[ask(np.random.default_rng(k), scene, QuestionMix()) for k in range(8)] for scene in again]


def test_the_truth_is_where_the_colour_is() -> None:
    rng = np.random.default_rng(3)
    settings = PictureSettings(size=128, backgrounds=("flat",), photo_share=0.0, decals=0, degrade=0.0)
    checked = 0
    for _ in range(12):
        scene = draw_scene(rng, settings)
        for thing in scene.things:
            mask = scene.labels == thing.label
            assert mask.sum() >= 25
            x1, y1, x2, y2 = (round(v * 128) for v in box_of(scene, thing.label))
            assert mask[y1:y2, x1:x2].sum() == mask.sum()
            assert mask[y1].any() and mask[:, x1].any() and mask[y2 - 1].any() and mask[:, x2 - 1].any()  # noqa: PT018
            if thing.look.colour in ("red", "green", "blue") and thing.look.texture == "plain":
                channel = ("red", "green", "blue").index(thing.look.colour)
                assert scene.image[mask].mean(0).argmax() == channel
                checked += 1
    assert checked > 3


def test_training_never_draws_or_names_what_is_held_out() -> None:
    for stage in load_concept_settings("sam3_nano").stages:
        assert stage.scenes.unseen == 0
        rng = np.random.default_rng(7)
        settings = replace(stage.scenes, size=64, photo_share=0.0)
        for _ in range(60):
            scene = draw_scene(rng, settings)
            assert not {(t.look.colour, t.look.shape) for t in scene.things} & HELD_OUT
            for question in (ask(rng, scene, stage.mix) for _ in range(10)):
                words = question.phrase.split()
                assert not any(colour in words and _noun_of(shape, words) for colour, shape in HELD_OUT), (
                    question.phrase
                )


def _noun_of(shape: str, words: list[str]) -> bool:
    nouns = SHAPE_WORDS[shape]
    return any(form in words for noun in nouns for form in (noun, noun + "s", PLURALS.get(noun, noun)))


def test_what_is_held_out_covers_every_colour_and_shape_but_nothing_of_the_demo() -> None:
    assert {colour for colour, _ in HELD_OUT} == set(COLOURS)
    assert {shape for _, shape in HELD_OUT} == set(SHAPE_WORDS)
    assert len(HELD_OUT) == 16
    named = {("red", "circle"), ("yellow", "star"), ("blue", "square"), ("green", "turtle")}
    assert not named & HELD_OUT
    assert all(any(colour in name for name in DemoScene.object_names) for colour, _ in named)  # the demo's four colours


@pytest.mark.parametrize("which", SETS)
def test_the_benchmark_asks_about_its_set_alone(which: str) -> None:
    cases = [make_case(which, seed) for seed in range(6)]
    again = [make_case(which, seed) for seed in range(6)]
    assert all(a.questions == b.questions for a, b in zip(cases, again, strict=True))
    phrases = [question for case in cases for question in case.questions["phrase"]]
    assert len(phrases) >= 6
    for question in phrases:
        assert question.concept is not None
        assert question.concept.held_out == (which == "unseen")
        assert question.answer
    assert all(not question.answer for case in cases for question in case.questions["absent"])


def test_answers_are_the_things_that_the_words_mean() -> None:
    rng = np.random.default_rng(11)
    kinds = {"absent": 0, "phrase": 0, "exemplar": 0, "excluded": 0}
    for scene in _scenes(40):
        for question in (ask(rng, scene, QuestionMix()) for _ in range(8)):
            meant = [t for t in scene.things if question.concept is not None and question.concept.means(t.look)]
            if question.phrase == EXEMPLARS_ALONE:
                kinds["exemplar"] += 1
                (kind,) = {t.kind for t in scene.things if t.label in question.answer}
                assert {t.label for t in scene.things if t.kind == kind} == set(question.answer)
            elif False in question.positive:
                kinds["excluded"] += 1
                removed = {t.kind for t in meant if t.label not in question.answer}
                assert len(removed) == 1
                assert not removed & {t.kind for t in meant if t.label in question.answer}
            else:
                kinds["phrase" if question.answer else "absent"] += 1
                assert [t.label for t in meant] == list(question.answer)
    assert all(count > 5 for count in kinds.values())
    assert 0.38 < kinds["absent"] / sum(kinds.values()) < 0.6


def test_phrases_say_every_attribute_once() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        concept = random_concept(rng)
        words = phrase_of(rng, concept).split()
        said = {
            "colour": [c for c in COLOURS if c in words],
            "texture": [t for t, forms in TEXTURE_WORDS.items() if set(forms) & set(words)],
            "size": [s for s, forms in SIZE_WORDS.items() if set(forms) & set(words)],
        }
        for name, values in said.items():
            wanted = getattr(concept, name)
            assert values == ([] if wanted is None else [wanted])
        noun = words[-1]
        nouns = THING_WORDS if concept.shape is None else SHAPE_WORDS[concept.shape]
        assert any(re.fullmatch(f"{n}(s|es)?", noun) for n in nouns)


def test_a_concept_means_what_agrees_in_all_that_it_names() -> None:
    look = Look("red", "ring", "striped", "large")
    assert Concept().means(look)
    assert Concept(colour="red", size="large").means(look)
    assert not Concept(colour="red", shape="star").means(look)
    assert not Concept(texture="dotted").means(look)
    assert Concept("white", "circle").held_out == (("white", "circle") in HELD_OUT)


def test_a_batch_holds_the_truth_of_its_pictures() -> None:
    tokenizer = Tokenizer(16, 8192)
    scenes = _scenes(3)
    rng = np.random.default_rng(0)
    questions = [[ask(rng, scene, QuestionMix()) for _ in range(5)] for scene in scenes]
    batch = collate(scenes, questions, tokenizer)
    assert batch.images.shape == (3, 3, 96, 96)
    assert torch.equal(((batch.images + 1) * 127.5).round().byte()[1], torch.tensor(scenes[1].image).permute(2, 0, 1))
    flat = [question for asked in questions for question in asked]
    assert batch.answers == tuple(question.answer for question in flat)
    for row, question in enumerate(flat):
        ids = [i for i in batch.ids[batch.phrase[row]].tolist() if i]
        assert tuple(ids) == tokenizer(question.phrase).ids
        assert int(batch.exemplars.boxes_valid[row].sum()) == len(question.boxes)
    thing = scenes[2].things[0]
    values = [values.index(getattr(thing.look, name)) + 1 for name, values in ATTRIBUTES.items()]
    assert batch.attributes[2, thing.label].tolist() == values
    x1, y1, x2, y2 = box_of(scenes[2], thing.label)
    assert batch.thing_boxes[2, thing.label].tolist() == pytest.approx(
        [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], abs=1e-6
    )
    drawn = draw_batch(np.random.default_rng(1), _PICTURES, QuestionMix(), 2, 3, tokenizer)
    assert len(drawn.answers) == 6


def test_every_shape_fills_a_fair_part_of_its_circle() -> None:
    from sam_core.training.concepts.looks import FILL, make_thing

    for shape in SHAPES:
        solid = make_thing(np.random.default_rng(0), "red", shape, "plain").solid
        share = (solid > 127).sum() / (np.pi * FILL**2)
        assert 0.15 < share < 1.5, shape
