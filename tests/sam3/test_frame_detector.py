"""Concepts on SAM 3 alone: tracker and detector on one trunk, which sees every image once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.reference.sam3 import let_some_pass
from benchmarks.reference.weights import make_lively
from sam_core import build_tracker
from sam_core.association import LIVE, ConceptTracker, FollowedConcept, FrameDetector
from sam_core.sam3 import build_detector

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    torch.manual_seed(0)
    tracker = build_tracker("sam3_toy", device="cpu", dtype="float32")
    make_lively(tracker.model)
    detector = build_detector("sam3_toy", device="cpu", dtype="float32", beside=tracker)
    let_some_pass(detector.network)
    assert detector.shares_trunk
    return tracker, detector


def test_words_become_tracks_with_one_pass_of_the_trunk_an_image(models: tuple[Any, Any]) -> None:
    tracker, detector = models
    passes: list[int] = []
    hook = tracker.model.trunk.register_forward_hook(lambda *_: passes.append(1))
    stream = tracker.open_stream(max_objects=4, reconditioning=True)
    stream.keep_pictures = True
    concepts, rules = ConceptTracker(stream), replace(LIVE, new_score=0.5)
    cup, plate = (FollowedConcept(phrase, rules=rules) for phrase in ("cup", "plate"))
    try:
        results = [
            concepts.step(IMAGE, stamp, concepts=[cup, plate], detect=FrameDetector(detector)) for stamp in range(3)
        ]
    finally:
        hook.remove()
    assert len(passes) == 3
    assert results[0].born
    assert set(results[0].result.labels) <= {"cup", "plate"}
    assert all(result.problems == () and result.searched == ("cup", "plate") for result in results)
    assert all(result.detection_seconds > 0 for result in results)


def test_a_shared_trunk_and_a_second_pass_find_the_same(models: tuple[Any, Any]) -> None:
    """On an image of the input's size; else the tracker resizes it otherwise than the detector."""
    tracker, detector = models
    side = tracker.image_size
    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = tracker.open_stream(max_objects=4)
    stream.keep_pictures = True
    stream.step(image)
    frame = stream.history.frame_at()
    (shared,) = FrameDetector(detector)(frame, ("cup",))
    (alone,) = FrameDetector(detector)(frame.without_trunk(), ("cup",))
    torch.testing.assert_close(shared.scores, alone.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared.logits, alone.logits, rtol=1e-3, atol=1e-3)


def test_without_pictures_the_search_fails_with_a_sentence(models: tuple[Any, Any]) -> None:
    tracker, detector = models
    concepts = ConceptTracker(tracker.open_stream(max_objects=4))
    result = concepts.step(IMAGE, 0, concepts=[FollowedConcept("cup")], detect=FrameDetector(detector))
    (problem,) = result.problems
    assert problem == "the detector failed on this image: ValueError: the stream keeps no pictures: set keep_pictures"


def test_phrases_are_asked_in_their_clean_form_and_named_as_they_were_given(models: tuple[Any, Any]) -> None:
    tracker, detector = models
    stream = tracker.open_stream(max_objects=1)
    stream.keep_pictures = True
    stream.step(IMAGE)
    frame = stream.history.frame_at()
    given, cup, plate = FrameDetector(detector)(frame, ("The Cups", "cup", "plate"))
    assert [one.phrase for one in (given, cup, plate)] == ["The Cups", "cup", "plate"]
    torch.testing.assert_close(given.scores, cup.scores)
    torch.testing.assert_close(given.logits, cup.logits)
    assert len(given) > 0
    assert given.scores.min() > 0.5


def test_what_is_at_or_below_the_threshold_is_not_made_into_masks(models: tuple[Any, Any]) -> None:
    tracker, detector = models
    stream = tracker.open_stream(max_objects=1)
    stream.keep_pictures = True
    stream.step(IMAGE)
    frame = stream.history.frame_at()
    (everything,) = FrameDetector(detector, threshold=0.0)(frame, ("cup",))
    middle = float(everything.scores.median())
    (better,) = FrameDetector(detector, threshold=middle)(frame, ("cup",))
    assert len(better) == int((everything.scores > middle).sum()) < len(everything)
