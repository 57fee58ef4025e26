"""The concept tracker on a real stream: what fails costs a search and nothing else, and nothing grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.concepts.flatness import Coming, run
from sam_core import Prompt, Tracker
from sam_core.association import (
    LIVE,
    ConceptDetections,
    ConceptResult,
    ConceptTracker,
    Delay,
    FollowedConcept,
)
from sam_core.streaming import Frame

GRID = 32
IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
RULES = replace(LIVE, hot_start=6, hot_start_unmatched=3, hot_start_duplicate=3, overlap_iou=0.0)
CUP = FollowedConcept("cup", rules=RULES)


def square(x: int, y: int = 4) -> torch.Tensor:
    logits = torch.full((GRID, GRID), -5.0)
    logits[y : y + 8, x : x + 8] = 5.0
    return logits


def detections(phrase: str, *where: int, score: float = 0.9) -> ConceptDetections:
    masks = torch.stack([square(x) for x in where]) if where else torch.zeros(0, GRID, GRID)
    return ConceptDetections(phrase, torch.full((len(where),), score), masks)


def found(*where: int) -> Any:
    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        yield from (detections(phrase, *where) for phrase in phrases)

    return detect


def confirming(concepts: ConceptTracker) -> Any:
    """Return a detector that finds what is tracked, where it was on the frame before."""

    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        before = concepts.stream.history.frames[-1].objects.values()
        masks = torch.stack([one.low_res for one in before])
        yield ConceptDetections(phrases[0], torch.full((len(masks),), 0.9), masks)

    return detect


@pytest.fixture
def concepts(micro_tracker: Tracker) -> ConceptTracker:
    return ConceptTracker(micro_tracker.open_stream(max_objects=4, reconditioning=True), RULES)


def test_a_detector_that_fails_costs_a_search_and_the_others_are_tracked_on(concepts: ConceptTracker) -> None:
    def broken(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        yield detections(phrases[0], 3)
        raise RuntimeError("the detector is ill")

    first = concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3))
    assert first.result.object_ids == (1,)
    second = concepts.step(IMAGE, 1, concepts=[CUP, FollowedConcept("plate", rules=RULES)], detect=broken)
    assert second.problems == ("the detector failed on this image: RuntimeError: the detector is ill",)
    assert (second.result.object_ids, second.searched) == ((1,), ())
    assert second.tracks == first.tracks, "the search does not count"


@pytest.mark.parametrize("count", [0, 10_000])
def test_any_number_of_detections_is_an_answer(concepts: ConceptTracker, count: int) -> None:
    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        places = [square(int(x), int(y)) for x, y in ((0, 0), (10, 0), (20, 0), (0, 20), (10, 20), (20, 20))]
        yield ConceptDetections(phrases[0], torch.full((count,), 0.9), torch.stack(places)[torch.arange(count) % 6])

    result = concepts.step(IMAGE, 0, concepts=[CUP], detect=detect)
    assert len(result.result) == (4 if count else 0), "as many as there are places"
    assert result.problems == ()


def test_a_new_object_is_tentative_then_confirmed_or_withdrawn(concepts: ConceptTracker) -> None:
    result = concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3))
    assert [origin.confirmed for origin in result.result.origins.values()] == [False], "published at once"
    concepts.step(IMAGE, 1)  # random weights track something else than what was detected
    states = []
    for stamp in range(2, 10):
        result = concepts.step(IMAGE, stamp, concepts=[CUP], detect=confirming(concepts))
        states += [track.confirmed for track in result.tracks.values()]
    assert states == [False] * 5 + [True] * 3
    assert result.result.origins[1].score == pytest.approx(0.9)


def test_what_nothing_confirms_is_withdrawn_and_frees_its_place(concepts: ConceptTracker) -> None:
    concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3))
    results = [concepts.step(IMAGE, stamp, concepts=[CUP], detect=found()) for stamp in (1, 2, 3)]
    assert [list(result.removed) for result in results] == [[], [], [1]]
    assert concepts.stream.objects == ()
    assert results[-1].result.object_ids == ()


def test_held_back_results_never_show_what_is_withdrawn(concepts: ConceptTracker) -> None:
    delay: Delay[int] = Delay(6)
    shown: list[tuple[int, tuple[int, ...]]] = []
    for stamp in range(8):
        detect = found(3) if stamp == 0 else found()
        out = delay.push(concepts.step(IMAGE, stamp, concepts=[CUP], detect=detect), stamp)
        if out is not None:
            shown.append((out[1], out[0].result.object_ids))
    shown += [(stamp, result.result.object_ids) for result, stamp in delay.flush()]
    assert shown == [(stamp, ()) for stamp in range(8)]


def test_held_back_results_never_show_what_a_later_search_withdraws(concepts: ConceptTracker) -> None:
    """As in the node, where another thread searches between the frames."""
    delay: Delay[int] = Delay(9)
    delay.push(concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3)), 0)
    frame = concepts.stream.history.newest
    assert frame is not None
    for _ in range(3):
        assert list(concepts.tracks) == [1]
        concepts.search(frame, detections("cup"), RULES)
    after = concepts.step(IMAGE, 1)
    assert list(after.removed) == [1]
    delay.push(after, 1)
    assert [result.result.object_ids for result, _ in delay.flush()] == [(), ()]
    assert concepts.step(IMAGE, 2).removed == {}, "told once"


def test_objects_that_somebody_prompted_are_left_as_the_network_says(micro_tracker: Tracker) -> None:
    mixed = ConceptTracker(micro_tracker.open_stream(max_objects=4, reconditioning=True), RULES)
    alone = micro_tracker.open_stream(max_objects=4, reconditioning=True)
    mask = np.zeros((96, 128), bool)
    mask[50:90, 60:120] = True
    for stamp in range(6):
        expected = alone.step(IMAGE, stamp)
        result: ConceptResult = mixed.step(IMAGE, stamp, concepts=[CUP], detect=found(3) if stamp else None)
        if stamp == 0:
            alone.add_prompt(Prompt(mask=mask))
            mixed.stream.add_prompt(Prompt(mask=mask))
            continue
        row = result.result.object_ids.index(1)
        torch.testing.assert_close(result.result.low_res[row], expected.low_res[0], rtol=1e-4, atol=1e-4)
        assert 1 not in result.result.origins


def test_what_is_removed_from_the_stream_is_forgotten(concepts: ConceptTracker) -> None:
    concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3, 20))
    concepts.stream.remove(1)
    result = concepts.step(IMAGE, 1, concepts=[CUP], detect=found(20))
    assert 1 not in result.tracks
    concepts.release("cup")
    assert all(track.confirmed for track in concepts.tracks.values()), "nothing withdraws them any more"
    assert concepts._searches == {}


def test_an_object_begun_after_its_concept_was_released_is_confirmed(concepts: ConceptTracker) -> None:
    concepts.step(IMAGE, 0)
    frame = concepts.stream.history.newest
    assert frame is not None
    late = detections("cup", 3)
    plan = concepts.search(frame, late, CUP.rules)
    concepts.release("cup")
    decision = concepts.begin(frame, late, 0, plan, CUP.rules)
    assert decision.object_id is not None
    assert concepts.tracks[decision.object_id].confirmed


def test_a_detector_out_of_memory_costs_a_search(concepts: ConceptTracker) -> None:
    def full(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
        raise torch.cuda.OutOfMemoryError("no memory")

    (problem,) = concepts.step(IMAGE, 0, concepts=[CUP], detect=full).problems
    assert "no memory" in problem


def test_a_step_that_fails_changes_no_track(concepts: ConceptTracker) -> None:
    concepts.step(IMAGE, 0, concepts=[CUP], detect=found(3))
    before = concepts.tracks
    for broken in (np.zeros((3, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(Exception, match=r".+"):
            concepts.step(broken, 1, concepts=[CUP], detect=found())
    assert concepts.tracks is before


@pytest.mark.slow
def test_nothing_grows_while_objects_come_and_go(micro_tracker: Tracker) -> None:
    """Concepts are searched for on every frame."""
    coming: Coming = run(micro_tracker, frames=90, first=60)
    assert coming.bytes_first == coming.bytes_last
    assert coming.born > 12
    assert coming.removed >= coming.born - 4


@pytest.mark.slow
def test_nothing_grows_over_3000_frames_while_objects_come_and_go(micro_tracker: Tracker) -> None:
    coming = run(micro_tracker, frames=3000, first=500)
    assert coming.bytes_first == coming.bytes_last
    assert coming.born > 500
    assert coming.removed >= coming.born - 4
