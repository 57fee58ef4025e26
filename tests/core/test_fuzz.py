"""Generated input at the library's border: a documented error or a valid result, and a stream that lost nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st

from sam_core import (
    CapacityError,
    FrameResult,
    ImageError,
    NoFrameError,
    Prompt,
    PromptError,
    Stream,
    Tracker,
    UnknownObjectError,
)
from sam_core.association import ConceptRules, FollowedConcept
from sam_core.sam3 import ConceptDetector, Exemplars, build_detector
from sam_core.streaming.images import image_tensor
from sam_core.streaming.prompt import check_prompt
from tests.core.pattern import HEIGHT, WIDTH, frame
from tests.fuzzing import examples

REFUSALS = (PromptError, CapacityError, UnknownObjectError, NoFrameError)

numbers = st.one_of(
    st.integers(-10, 200),
    st.floats(-10, 200),
    st.floats(),
    st.integers(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=5), max_leaves=12)
dtypes = st.sampled_from(
    [np.bool_, np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float32, np.float64, np.complex64, object, "U3"]
)


SHAPES = [(), (0,), (1,), (2,), (4,), (5,), (1, 2), (2, 2), (3, 2), (0, 2), (2, 3), (1, 4), (101, 2), (HEIGHT, WIDTH)]
SHAPES += [
    (WIDTH, HEIGHT),
    (1, HEIGHT, WIDTH),
    (2, 2, 2),
    (HEIGHT, WIDTH, 3),
    (HEIGHT, WIDTH, 4),
    (0, WIDTH, 3),
    (1, 1, 3),
]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays and tensors of many kinds and shapes."""
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 3, draw(st.sampled_from(SHAPES)))
    array = np.asarray(values * draw(st.sampled_from([1, 0, -1, 30, 0.3]))).astype(draw(dtypes))
    if draw(st.booleans()) and array.dtype.kind not in "OU":
        return torch.from_numpy(array)
    return array


pairs = st.tuples(st.floats(-4, WIDTH + 4), st.floats(-4, HEIGHT + 4))
things = st.one_of(nested, arrays(), st.builds(object), st.binary(max_size=4), st.dictionaries(numbers, numbers))
points = st.one_of(st.none(), st.lists(pairs, max_size=4), st.integers(95, 110).map(lambda n: [(3.0, 4.0)] * n), things)
labels = st.one_of(st.none(), st.lists(st.integers(0, 1), max_size=4), st.lists(st.integers(-1, 3), max_size=4), things)
boxes = st.one_of(
    st.none(),
    st.tuples(st.floats(-4, 60), st.floats(-4, 45), st.floats(60, WIDTH + 4), st.floats(45, HEIGHT + 4)),
    things,
)


@st.composite
def good_masks(draw: st.DrawFn) -> Any:
    """Rectangles in one of the forms that a mask may have."""
    mask = np.zeros((HEIGHT, WIDTH), draw(st.sampled_from([np.bool_, np.uint8, np.int32, np.float32])))
    x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    mask[y : y + draw(st.integers(1, 40)), x : x + draw(st.integers(1, 40))] = 1
    return draw(st.sampled_from([mask, torch.from_numpy(mask), mask.tolist()]))


masks = st.one_of(st.none(), good_masks(), things)
stamps = st.one_of(st.none(), st.integers(-3, 12), st.floats(), st.text(max_size=3), things)
frames = st.one_of(st.none(), st.none(), st.integers(-3, 12), st.integers(), st.floats(), st.text(max_size=2))
prompts = st.one_of(
    st.builds(Prompt, points=points, labels=labels, box=boxes, stamp=stamps, frame=frames),
    st.builds(Prompt, mask=masks, stamp=stamps, frame=frames),
    st.builds(Prompt, points, labels, boxes, masks, stamps, frames),
)
texts = st.one_of(st.just(""), st.text(max_size=8), st.text(min_size=250, max_size=260))
ids = st.one_of(st.none(), st.integers(0, 4), st.integers(), st.floats(), st.text(max_size=2))
good_images = st.builds(lambda i: frame(i), st.integers(0, 30))


R = TypeVar("R")


def attempt(call: Callable[[], R], *allowed: type[Exception]) -> tuple[R | None, str]:
    """Return a call's result, or None and the text of an allowed error; others pass."""
    try:
        return call(), ""
    except allowed as error:
        return None, str(error)


@given(prompt=prompts)
@examples(200)
def test_a_prompt_is_refused_with_a_sentence_or_fits_its_image(prompt: Prompt) -> None:
    checked, refusal = attempt(lambda: check_prompt(prompt, HEIGHT, WIDTH), PromptError)
    if checked is None:
        assert refusal.endswith(".")
        assert len(refusal) < 400
        return
    assert (checked.points.dtype, checked.labels.dtype) == (np.float32, np.int64)
    assert ((checked.points >= 0) & (checked.points < (WIDTH, HEIGHT))).all()
    assert set(checked.labels.tolist()) <= {0, 1}
    assert len(checked.points) == len(checked.labels) <= 100
    if checked.box is not None:
        assert (checked.box[:2] < checked.box[2:]).all()
        assert (checked.box >= 0).all()
        assert (checked.box <= (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()
    if checked.mask is not None:
        assert (checked.mask.shape, checked.mask.dtype) == ((HEIGHT, WIDTH), np.bool_)
        assert checked.mask.any()
    assert checked.mask is not None or checked.box is not None or len(checked.points)


@given(image=st.one_of(things, good_images, good_images.map(lambda i: i[::2, ::-1])))
@examples(150)
def test_an_image_is_refused_with_a_sentence_or_becomes_a_tensor(image: Any) -> None:
    tensor, refusal = attempt(lambda: image_tensor(image), ImageError)
    if tensor is None:
        assert refusal.endswith(".")
        return
    assert (tensor.dtype, tensor.ndim, tensor.shape[2]) == (torch.uint8, 3, 3)
    assert tensor.numel()
    np.testing.assert_array_equal(tensor, np.asarray(image))


# --- A stream that is told everything, beside one that is told only what was accepted ---------------------------------


@dataclass(frozen=True)
class Act:
    """What is done to a stream, and the errors that its documentation allows."""

    call: Callable[[Stream], Any]
    allowed: tuple[type[Exception], ...]


def _step(image: Any, stamp: Any) -> Act:
    return Act(lambda stream: stream.step(image, stamp), (ImageError,))


def _prompt(prompt: Prompt, object_id: Any, label: str, or_newest: bool, renew: bool) -> Act:
    return Act(lambda s: s.add_prompt(prompt, object_id, label, or_newest=or_newest, renew=renew), REFUSALS)


def _remove(object_id: Any) -> Act:
    return Act(lambda stream: stream.remove(object_id), (UnknownObjectError,))


acts = st.one_of(
    st.builds(_step, good_images, st.one_of(st.none(), st.integers(0, 12), stamps)),
    st.builds(_step, st.one_of(things, good_images), stamps),
    st.builds(_prompt, prompts, ids, texts, st.booleans(), st.booleans()),
    st.builds(
        _prompt,
        st.one_of(
            st.builds(Prompt, points=st.lists(pairs, min_size=1, max_size=3), stamp=st.none() | st.integers(0, 12)),
            st.builds(Prompt, mask=good_masks()),
        ),
        st.none() | st.integers(1, 3),
        st.text(max_size=8),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(_remove, ids),
    st.builds(lambda: Act(lambda stream: stream.reset(), ())),
)


def same(one: Any, other: Any) -> None:
    """Compare two results bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, FrameResult):
        assert (one.frame, one.object_ids, one.labels, one.remarks) == (
            other.frame,
            other.object_ids,
            other.labels,
            other.remarks,
        )
        assert torch.equal(one.mask_logits, other.mask_logits)


@given(todo=st.lists(acts, min_size=1, max_size=6))
@examples(40)
def test_what_is_refused_leaves_no_trace(micro_tracker: Tracker, todo: list[Act]) -> None:
    disturbed, calm = (micro_tracker.open_stream(max_objects=2, history_frames=4) for _ in range(2))
    for act in todo:
        result, refusal = attempt(partial(act.call, disturbed), *act.allowed)
        assert refusal == "" or refusal.endswith(".")
        if not refusal:
            same(result, act.call(calm))
        assert disturbed.objects == calm.objects
        assert disturbed.report() == calm.report()
    for index in (31, 32):
        same(disturbed.step(frame(index), index), calm.step(frame(index), index))


# --- Settings ---------------------------------------------------------------------------------------------------------

values = st.one_of(st.integers(-2, 6), st.floats(-2, 6), st.floats(), st.none(), st.booleans(), st.text(max_size=4))
names = ["max_objects", "mask_threshold", "history_frames", "history_bytes", "stamp_tolerance", "catch_up_frames"]
names += ["max_corrections", "max_conditioning_frames", "max_pointer_distance", "fill_hole_area", "non_overlap"]
names += ["corrections_are_conditioning", "mask_refinement", "click_augmentation"]


@given(settings=st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=3))
@examples(80)
def test_settings_are_refused_with_a_sentence_or_make_a_stream(
    micro_tracker: Tracker, settings: dict[str, Any]
) -> None:
    stream, refusal = attempt(lambda: micro_tracker.open_stream(**{"max_objects": 2, **settings}), ValueError)
    if stream is None:
        assert any(name in refusal for name in settings)
        return
    stream.step(frame(0), 0)
    stream.add_prompt(Prompt(points=[[60, 45]]))
    assert stream.step(frame(1), 1).object_ids == (1,)


@given(
    settings=st.fixed_dictionaries(
        {"match_iou": st.floats(), "new_score": st.floats(), "score_threshold": st.floats()}
    ),
    phrase=texts,
    period=st.floats(),
    every=st.integers(),
)
@examples(60)
def test_concepts_are_refused_with_a_sentence_or_followed(
    settings: dict[str, float], phrase: str, period: float, every: int
) -> None:
    concept, refusal = attempt(lambda: FollowedConcept(phrase, period, every, ConceptRules(**settings)), ValueError)
    if concept is None:
        assert refusal
        return
    assert concept.key
    assert 0 < concept.period < float("inf")
    assert 0 < concept.rules.match_iou <= 1
    assert 0 <= concept.rules.score_threshold <= 1
    assert concept.every_n_frames >= 0


# --- Detector ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector() -> ConceptDetector:
    """A small detector with random weights."""
    torch.manual_seed(0)
    return build_detector("sam3_toy", device="cpu", dtype="float32")


phrases = st.one_of(
    texts, st.just(()), st.lists(st.one_of(texts, st.sampled_from(["cup", "CUPS", '"a_cup"'])), max_size=3)
)
exemplars = st.one_of(
    st.none(),
    st.builds(Exemplars, boxes=st.lists(boxes, max_size=2)),
    st.builds(Exemplars, boxes, labels, points, labels),
)


@given(phrases=phrases, shown=exemplars, threshold=st.floats(0, 1) | st.floats(), limit=st.none() | st.integers(-1, 3))
@examples(40)
def test_a_detection_is_refused_with_a_sentence_or_answers_each_phrase(
    detector: ConceptDetector, phrases: Any, shown: Exemplars | None, threshold: float, limit: int | None
) -> None:
    state = detector.encode_image(frame(0))
    found, refusal = attempt(lambda: detector.detect(state, phrases, shown, threshold, limit), ValueError)
    if found is None:
        assert refusal.endswith(".")
        return
    assert len(found) == (1 if isinstance(phrases, str) else max(1, len(phrases)))
    assert all(((one.scores >= 0) & (one.scores <= 1)).all() for one in found)
