"""Detections that come late to a real stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_core import CapacityError, Prompt, PromptError, StampError, Tracker
from sam_core.association import (
    LIVE,
    Association,
    ConceptDetections,
    ConceptRules,
    ConceptTracker,
    Decision,
    Handover,
    Instance,
    hand_over,
)
from sam_core.saved_objects import load_object, save_object
from sam_core.streaming import Frame, ObjectState, Stream
from tests.core.association.blinded import blinded
from tests.core.association.drawn import box, cup

SIZE = (96, 128)


def image_of(index: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return np.roll(image, 2 * index, axis=1)


class Camera:
    """A stream, and what associations need of it."""

    def __init__(self, tracker: Tracker, **settings: Any) -> None:
        self.stream: Stream = tracker.open_stream(max_objects=4, **settings)
        self.concepts = ConceptTracker(self.stream)
        self.logits: list[dict[int, torch.Tensor]] = []  # of each frame, by object

    def step(self, stamp: int | None = None) -> frozenset[str]:
        index = len(self.logits)
        outcome = self.concepts.step(image_of(index), index if stamp is None else stamp)
        self.logits.append(dict(zip(outcome.result.object_ids, outcome.result.mask_logits, strict=True)))
        return outcome.lost

    def track(self, frame: int | Frame, instance: Instance, **rules: Any) -> Decision:
        searched = self.stream.history.numbered(frame) if isinstance(frame, int) else frame
        assert searched is not None
        chosen = replace(LIVE, **rules)
        outcome = hand_over(
            lambda call: call(self.concepts), searched, instance.phrase, [instance], chosen, counted=False
        )
        if outcome.problems:
            raise outcome.problems[0]
        (decision,) = outcome.decisions
        assert decision is not None
        return decision

    def search(self, instance: Instance, rules: ConceptRules) -> tuple[Exception, ...]:
        """Search the newest frame as a concept that is followed does; return what went wrong."""
        frame = self.stream.history.newest
        assert frame is not None
        outcome = hand_over(lambda call: call(self.concepts), frame, instance.phrase, [instance], rules, counted=True)
        return outcome.problems


def test_an_instance_is_tracked_from_the_frame_that_it_was_found_on(micro_tracker: Tracker) -> None:
    """Six frames late it ends as if it had been prompted in time, and does not change the other object."""
    found = [cup(box(10, 10, 50, 40, SIZE)), cup(box(70, 50, 120, 90, SIZE), 0.8)]
    late, prompt, alone = Camera(micro_tracker), Camera(micro_tracker), Camera(micro_tracker)
    for camera in (late, prompt, alone):
        camera.step()
        camera.stream.add_prompt(Prompt(points=[[30, 80]]))
        camera.step()
    expected = [prompt.track(1, instance, match_iou=0.9) for instance in found]  # random masks are large
    for _ in range(2, 8):
        for camera in (late, prompt, alone):
            camera.step()
    assert [late.track(1, instance, match_iou=0.9) for instance in found] == expected
    assert [decision.association for decision in expected] == [Association.NEW, Association.NEW]
    assert [o.frames_behind for o in late.stream.objects] == [0, 6, 6]
    for _ in range(8, 14):
        for camera in (late, prompt, alone):
            camera.step()
        for i, logits in alone.logits[-1].items():
            torch.testing.assert_close(late.logits[-1][i], logits, rtol=1e-4, atol=1e-4)
    assert [o.frames_behind for o in late.stream.objects] == [0, 0, 0]
    for decision in expected:
        i = decision.object_id
        assert i is not None
        torch.testing.assert_close(late.logits[13][i], prompt.logits[13][i], rtol=1e-4, atol=1e-4)


def test_nothing_is_tracked_twice(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker)
    for _ in range(3):
        camera.step()
    instance = cup(box(10, 10, 50, 40, SIZE))
    first = camera.track(1, instance)
    assert first.association is Association.NEW
    for again in (
        camera.track(1, instance),
        camera.track(1, cup(instance.mask, phrase="mug")),
        camera.track(2, instance),  # it has not arrived there yet: its mask on frame 1 is the nearest
    ):
        assert (again.association, again.object_id) == (Association.TRACKED, first.object_id)
    assert [(o.object_id, o.label) for o in camera.stream.objects] == [(first.object_id, "cup")]


def test_the_frame_that_was_searched_may_be_older_than_what_is_known_of_it(micro_tracker: Tracker) -> None:
    """A detector takes a frame and searches it for some time; another detection on it comes first."""
    camera = Camera(micro_tracker)
    camera.step()
    searched = camera.stream.history.frame_at()
    instance = cup(box(10, 10, 50, 40, SIZE))
    assert camera.track(searched, instance).association is Association.NEW
    camera.step()
    assert not searched.objects
    assert camera.track(searched, instance).association is Association.TRACKED


def test_a_lost_object_keeps_its_id_and_goes_on_from_the_detection(micro_tracker: Tracker) -> None:
    """Also long after the last frame that showed it has left the history."""
    camera = Camera(micro_tracker, history_frames=4)
    camera.step()
    first = camera.track(0, cup(box(10, 10, 50, 40, SIZE)))
    camera.step()
    last = camera.stream.history.frame_at().mask_of(1, 0.0)
    with blinded(micro_tracker):
        assert camera.step() == {"cup"}
        for _ in range(6):
            assert camera.step() == frozenset()
        assert [o.state for o in camera.stream.objects] == [ObjectState.ABSENT]
        assert last is not None
        height, width = SIZE
        assert camera.concepts._last_seen == {1: (last.centre[0] / width, last.centre[1] / height)}
    back = camera.track(8, cup(box(60, 20, 90, 60, SIZE), 0.55, phrase="Cup"))
    assert (back.association, back.object_id) == (Association.REIDENTIFIED, first.object_id)
    assert camera.track(8, cup(box(62, 22, 90, 60, SIZE))).association is Association.TRACKED
    camera.step()
    assert [(o.object_id, o.label, o.state) for o in camera.stream.objects] == [(1, "cup", ObjectState.TRACKED)]
    assert camera.stream.objects[0].first_frame == 8, "it was renewed"


def test_a_loaded_object_is_looked_for_by_its_concept(micro_tracker: Tracker, tmp_path: Path) -> None:
    """A tracker that does not recognise it gets it from the detector, under its id."""
    first, other = Camera(micro_tracker), Camera(micro_tracker)
    first.step()
    first.track(0, cup(box(10, 10, 50, 40, SIZE)))
    save_object(tmp_path / "cup", micro_tracker, first.stream, 1, concept="cup")
    with blinded(micro_tracker):
        other.step()
        object_id = load_object(tmp_path / "cup", micro_tracker, other.stream)
        other.concepts.adopt(object_id, "Cup")
        other.step()
        assert other.track(1, cup(box(60, 20, 90, 60, SIZE), phrase="plate")).association is Association.NEW
        back = other.track(1, cup(box(60, 60, 90, 90, SIZE)))
    assert (back.association, back.object_id) == (Association.REIDENTIFIED, object_id)


def test_a_lost_object_whose_mask_is_always_too_small_leaves(micro_tracker: Tracker) -> None:
    """The detector finds a bit of it again and again, of which nothing is left at the size of the network's masks."""
    camera = Camera(micro_tracker)
    camera.step()
    rules = replace(LIVE, leave_after=3)
    camera.search(cup(box(10, 10, 50, 40, SIZE)), rules)
    ids, problems = [], []
    with blinded(micro_tracker):
        for _ in range(5):
            camera.step()
            problems.append(len(camera.search(cup(box(22, 20, 26, 26, SIZE), 0.6), rules)))
            ids.append([one.object_id for one in camera.stream.objects])
    assert problems[:3] == [1, 1, 1], "each time it is found, and refused"
    assert ids == [[1], [1], [1], [], []]
    assert dict(camera.concepts.tracks) == {}


def test_frames_of_equal_stamps_are_told_apart_by_their_numbers(micro_tracker: Tracker) -> None:
    """A camera without a clock stamps every image with zero."""
    camera = Camera(micro_tracker)
    camera.step(stamp=0)
    searched = camera.stream.history.frame_at()
    camera.step(stamp=0)
    assert camera.track(searched, cup(box(10, 10, 50, 40, SIZE))).association is Association.NEW
    assert [o.first_frame for o in camera.stream.objects] == [0]


def test_what_cannot_be_tracked_changes_nothing(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker, history_frames=3)
    camera.step()
    gone = camera.stream.history.frame_at()
    for _ in range(5):
        camera.step()
    with pytest.raises(StampError, match="Frame 0 is not at hand: the oldest is 3, the newest 5"):
        camera.track(gone, cup(box(10, 10, 50, 40, SIZE)))
    assert camera.stream.objects == ()
    for x in range(0, 120, 30):
        camera.track(4, cup(box(x, 0, x + 20, 20, SIZE)), match_iou=1.0)
    with pytest.raises(CapacityError):
        camera.track(4, cup(box(0, 60, 20, 80, SIZE)), match_iou=1.0)
    assert len(camera.stream.objects) == 4
    assert list(camera.concepts.tracks) == [1, 2, 3, 4]


def test_an_object_without_memory_leaves_the_others_decisions(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera(micro_tracker)
    camera.step()
    frame = camera.stream.history.newest
    assert frame is not None
    found = [cup(box(10, 10, 50, 40, SIZE)), cup(box(70, 50, 120, 90, SIZE), 0.8)]
    begin, calls = camera.concepts.begin, 0

    def full(*args: Any, **options: Any) -> Decision:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.cuda.OutOfMemoryError("no memory")
        return begin(*args, **options)

    monkeypatch.setattr(camera.concepts, "begin", full)
    outcome = hand_over(lambda call: call(camera.concepts), frame, "cup", found, LIVE, counted=False)
    assert outcome.decisions == (Decision(Association.NEW, 1), None)
    assert len(outcome.problems) == 1


@pytest.mark.parametrize("count", [0, 10_000])
@pytest.mark.parametrize("counted", [True, False])
def test_any_number_of_instances_is_answered_and_few_become_tensors(
    micro_tracker: Tracker, monkeypatch: pytest.MonkeyPatch, count: int, counted: bool
) -> None:
    camera = Camera(micro_tracker)
    camera.step()
    frame = camera.stream.history.newest
    assert frame is not None
    places = [box(x, y, x + 30, y + 30, SIZE) for x in (0, 40, 80) for y in (0, 50)]
    found = [cup(places[i % 6], 0.6 + 0.3 * i / 10_000) for i in range(count)]
    sizes: list[int] = []
    of_instances = ConceptDetections.of_instances

    def counted_of(phrase: str, instances: Any, *rest: Any) -> ConceptDetections:
        sizes.append(len(instances))
        return of_instances(phrase, instances, *rest)

    monkeypatch.setattr(ConceptDetections, "of_instances", counted_of)
    outcome = hand_over(lambda call: call(camera.concepts), frame, "cup", found, LIVE, counted=counted)
    assert sizes == [min(count, LIVE.max_detections)]
    assert len(outcome.decisions) == count
    assert len(camera.stream.objects) == (4 if count else 0), "as many as there are places"
    if count:
        ids = {one.object_id for one in outcome.decisions[-6:] if one is not None}
        assert len(ids - {None}) == 4, "the best scores begin"
        assert outcome.decisions[0] == Decision(Association.UNSURE), "not looked at"


def test_a_full_stream_is_told_where_the_concept_has_a_bound_too(micro_tracker: Tracker) -> None:
    camera = Camera(micro_tracker)
    camera.step()
    for x in (10, 40, 70, 100):
        camera.stream.add_prompt(Prompt(points=[[x, 80]]))
    with pytest.raises(CapacityError, match="All 4 places are taken"):
        camera.track(0, cup(box(10, 10, 50, 40, SIZE)), max_objects=3, across_concepts=False)


# --- Every instance is told what became of it -------------------------------------------------------------------------

NEW = Association.NEW
LEFT, MIDDLE, RIGHT = (box(x, 10, x + 30, 40, SIZE) for x in (0, 45, 90))
LOWER = box(45, 60, 75, 90, SIZE)
APART = replace(LIVE, match_iou=1.0)  # random masks are large


def handed(
    camera: Camera, *instances: Instance, rules: ConceptRules = APART, counted: bool = True, frame: Frame | None = None
) -> Handover:
    searched = frame or camera.stream.history.frame_at()
    return hand_over(lambda call: call(camera.concepts), searched, "cup", instances, rules, counted=counted)


@pytest.fixture
def camera(micro_tracker: Tracker) -> Camera:
    camera = Camera(micro_tracker)
    camera.step()
    return camera


def test_the_best_score_begins_first_and_decisions_are_in_the_order_of_the_instances(camera: Camera) -> None:
    outcome = handed(camera, cup(LEFT, 0.75), cup(MIDDLE, 0.95), cup(RIGHT, 0.85), cup(LOWER, 0.6))
    assert outcome.decisions == (Decision(NEW, 3), Decision(NEW, 1), Decision(NEW, 2), Decision(Association.UNSURE))
    assert outcome.problems == ()


def test_a_search_looks_at_the_best_of_those_that_overlap_and_who_asks_once_is_told_of_each(camera: Camera) -> None:
    """The second is a twin of the third. The first is below the threshold of scores."""
    instances = (cup(LEFT, 0.5), cup(box(45, 10, 75, 38, SIZE), 0.8), cup(MIDDLE, 0.9))
    for counted in (True, False):
        outcome = handed(camera, *instances, counted=counted)
        assert outcome.decisions == (Decision(Association.UNSURE), *[Decision(NEW, 2 - counted)] * 2)


def test_who_asks_once_is_told_of_instances_that_overlap_which_object_each_is(camera: Camera) -> None:
    """They overlap by a third. A search looks at the better one alone, and so takes the other one for the same."""
    pair = box(0, 10, 30, 40, SIZE), box(15, 10, 45, 40, SIZE)
    for mask in pair:
        handed(camera, cup(mask), counted=False)
    rules = replace(LIVE, match_iou=0.5)
    known = (Decision(Association.TRACKED, 1), Decision(Association.TRACKED, 2))
    assert handed(camera, cup(pair[0], 0.9), cup(pair[1], 0.8), rules=rules, counted=False).decisions == known
    assert handed(camera, cup(pair[0], 0.9), cup(pair[1], 0.8), rules=rules).decisions == (known[0], known[0])


def test_what_a_search_begins_may_be_withdrawn_and_what_somebody_asked_for_stays(camera: Camera) -> None:
    handed(camera, cup(LEFT))
    handed(camera, cup(RIGHT), counted=False)
    assert [one.confirmed for one in camera.concepts.tracks.values()] == [False, True]
    assert camera.concepts._searches == {"cup": 1}


@pytest.mark.parametrize(
    ("max_objects", "left_over", "problems"),
    [
        (None, None, ["All 4 places are taken: remove an object, or configure more (max_objects)."]),
        (1, Decision(Association.LIMIT_REACHED), []),
    ],
)
def test_a_full_stream_is_a_problem_and_a_full_concept_is_none(
    camera: Camera, max_objects: int | None, left_over: Decision | None, problems: list[str]
) -> None:
    for x in (20, 60, 100):
        camera.stream.add_prompt(Prompt(points=[[x, 80]]))
    rules = replace(APART, max_objects=max_objects, across_concepts=False)
    outcome = handed(camera, cup(LEFT, 0.8), cup(RIGHT, 0.9), rules=rules)
    assert outcome.decisions == (left_over, Decision(NEW, 4))
    assert [str(one) for one in outcome.problems] == problems


def test_an_instance_that_the_network_refuses_leaves_the_others(camera: Camera) -> None:
    """Of the small one nothing is left at the size of the network's masks."""
    small = box(82, 80, 86, 86, SIZE)
    outcome = handed(camera, cup(LEFT, 0.8), cup(small, 0.9), cup(MIDDLE, 0.75))
    assert outcome.decisions == (Decision(NEW, 1), None, Decision(NEW, 2))
    assert [type(one) for one in outcome.problems] == [PromptError]


def test_once_the_frame_is_gone_nothing_more_begins(camera: Camera) -> None:
    """It leaves while the first object begins: the others are not tried."""
    searched = camera.stream.history.frame_at()
    calls = 0

    def run(call: Any) -> Any:
        nonlocal calls
        calls += 1
        answer = call(camera.concepts)
        if calls == 3:  # the settings, the search, the first object
            for index in range(40):
                camera.stream.step(image_of(index))
            assert camera.stream.history.numbered(searched.number) is None
        return answer

    instances = (cup(LEFT, 0.75), cup(MIDDLE, 0.9), cup(RIGHT, 0.8))
    outcome = hand_over(run, searched, "cup", instances, APART, counted=True)
    assert outcome.decisions == (None, Decision(NEW, 1), None)
    assert [type(one) for one in outcome.problems] == [StampError]
    assert calls == 4
