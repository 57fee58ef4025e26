"""Tracker and detector on one trunk: concepts that count frames are searched for in the step of a frame.

The inference thread, the detector's thread and both networks are real; the tests hold the networks where it matters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.logging import get_logger

from benchmarks.reference.sam3 import let_some_pass
from benchmarks.reference.weights import make_lively
from sam_core import Tracker, build_tracker
from sam_core.association import LIVE, ConceptResult, FollowedConcept
from sam_core.sam3 import ConceptDetector, build_detector
from sam_ros.detection.counts import DetectionCounts
from sam_ros.detection.detector_thread import CalledOffError, DetectorThread
from sam_ros.detection.redetector import Redetector
from sam_ros.detection.step_search import StepSearch
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.session import Session
from sam_ros.tracking.statistics import Statistics

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
TIMEOUT = 120.0  # s; far more than anything here takes
RULES = replace(LIVE, new_score=0.5)


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    torch.manual_seed(0)
    tracker = build_tracker("sam3_toy", device="cpu", dtype="float32")
    make_lively(tracker.model, object_score_bias=5.0)
    return tracker


def every(frames: int, phrase: str = "cup", **settings: Any) -> FollowedConcept:
    return FollowedConcept(phrase, every_n_frames=frames, rules=RULES, **settings)


@dataclass(eq=False)
class Rig:
    """The two threads, as the node connects them."""

    inference: InferenceThread[Any]
    thread: DetectorThread
    redetector: Redetector
    detector: ConceptDetector
    counts: DetectionCounts
    refused: list[str]
    stamps: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    def step(self) -> ConceptResult:
        """Track an image in the inference thread."""

        def step(session: Session) -> ConceptResult:
            outcome = session.step(IMAGE, next(self.stamps), None)
            self.redetector.frame_came()
            return outcome

        return self.inference.submit(step).result(TIMEOUT)

    def before_it_decodes(self, call: Callable[[], Any]) -> Any:
        """Let each detection make a call in its midst; return what ends that."""

        def hook(*_: Any) -> None:
            call()

        return self.detector.network.transformer.decoder.register_forward_pre_hook(hook)

    def settle(self) -> None:
        """Wait until the detector's thread has done what was due."""
        self.thread.wake()
        give_up = time.monotonic() + TIMEOUT
        while self.redetector.wait() == 0 or self.thread.load:
            assert time.monotonic() < give_up
            time.sleep(0.01)


@pytest.fixture
def rig(tracker: Tracker) -> Iterator[Rig]:
    torch.manual_seed(1)
    detector = build_detector("sam3_toy", device="cpu", dtype="float32", beside=tracker)
    let_some_pass(detector.network)
    session = Session(tracker.open_stream(max_objects=4, reconditioning=True))
    session.stream.keep_pictures = True
    logger, counts, refused = get_logger("test"), DetectionCounts(), []
    inference: InferenceThread[Any] = InferenceThread(
        session, decode=lambda _: IMAGE, deliver=lambda *_: None, statistics=Statistics(), logger=logger
    )
    redetector = Redetector(
        lambda: inference.history,
        inference.submit,
        counts=counts,
        refuse=lambda error: refused.append(str(error)) or "",
        logger=logger,
    )
    redetector.in_step = True
    thread = DetectorThread(lambda: detector, capacity=4, cpu_threads=1, background=redetector, logger=logger)
    session.drive = StepSearch(thread, redetector, counts)
    inference.start()
    thread.start()
    assert thread.loaded.result(TIMEOUT).shares_trunk
    yield Rig(inference, thread, redetector, detector, counts, refused)
    thread.stop()
    assert thread.join(TIMEOUT)
    assert inference.stop(TIMEOUT)


def test_the_very_frame_has_what_was_found_on_it_for_one_pass_of_the_trunk(rig: Rig, tracker: Tracker) -> None:
    passes: list[int] = []
    hook = tracker.model.trunk.register_forward_hook(lambda *_: passes.append(1))
    rig.redetector.follow(every(2, "The  Cups"))
    try:
        outcomes = [rig.step() for _ in range(5)]
    finally:
        hook.remove()
    assert [outcome.searched for outcome in outcomes] == [("The  Cups",), (), ("The  Cups",), (), ("The  Cups",)]
    assert len(passes) == 5
    first = outcomes[0]
    assert first.born
    assert first.result.object_ids == first.born, "published with the frame"
    assert set(first.result.labels) == {"The  Cups"}
    assert {first.tracks[i].concept for i in first.born} == {"cup"}
    assert rig.counts.detections == 3
    assert rig.counts.last_seconds is not None
    assert rig.counts.association_seconds is not None
    assert rig.refused == []


def test_no_frame_waits_for_a_call_and_the_next_free_one_is_searched(rig: Rig) -> None:
    rig.redetector.follow(every(1))
    entered, go = threading.Event(), threading.Event()

    def work(_: ConceptDetector) -> bool:
        entered.set()
        return go.wait(TIMEOUT)

    call = rig.thread.submit(work)
    assert entered.wait(TIMEOUT)
    assert [rig.step().searched for _ in range(2)] == [(), ()]
    go.set()
    assert call.result(TIMEOUT)
    assert rig.step().searched == ("cup",)


def test_calls_and_the_end_wait_until_the_detector_is_given_back(rig: Rig) -> None:
    with rig.thread.lend() as detector:
        assert detector is rig.detector
        call = rig.thread.submit(lambda _: "done")
        assert not call.done()
    assert call.result(TIMEOUT) == "done"
    with rig.thread.lend() as detector:
        assert detector is not None
        waiting = rig.thread.submit(lambda _: None)
        rig.thread.stop()
        assert not rig.thread.join(0.0)
        with pytest.raises(CalledOffError):
            detector.encode_image(IMAGE)
        assert not rig.thread.ended.done()
    rig.thread.ended.result(TIMEOUT)
    assert isinstance(waiting.exception(TIMEOUT), CalledOffError)
    with rig.thread.lend() as detector:
        assert detector is None


def test_work_by_the_clock_gets_its_turn_and_frames_go_on_while_it_hands_over(rig: Rig) -> None:
    """The detector's thread waits for the inference thread then; the inference thread never waits for it."""
    rig.redetector.follow(every(1))
    assert rig.step().searched == ("cup",)
    rig.redetector.follow(FollowedConcept("plate", period=1e6, rules=RULES))
    with rig.thread.lend() as detector:
        assert detector is None, "what is due goes first"
    before = rig.counts.detections
    rig.settle()
    assert rig.counts.detections > before
    for _ in range(3):
        rig.step()
    assert rig.step().searched == ("cup",)


def test_a_concept_that_is_unfollowed_during_its_search_begins_nothing_and_is_counted(rig: Rig) -> None:
    rig.redetector.follow(every(1))
    rig.before_it_decodes(lambda: rig.redetector.unfollow("cup"))
    outcome = rig.step()
    assert (outcome.searched, outcome.born, outcome.search_failed) == ((), (), False)
    assert (rig.counts.dropped, rig.counts.failed) == (1, 0)
    rig.redetector.follow(FollowedConcept("cup", period=1e6, rules=RULES))  # the same in the detector's thread
    rig.settle()
    assert rig.counts.dropped == 2
    assert rig.inference.submit(lambda session: session.stream.objects).result(TIMEOUT) == ()


def test_a_detector_that_fails_costs_its_search_and_tracking_goes_on(rig: Rig) -> None:
    rig.redetector.follow(every(1))
    known = rig.step().result.object_ids
    assert known

    def fail() -> None:
        raise RuntimeError("the detector is ill")

    hook = rig.before_it_decodes(fail)
    outcome = rig.step()
    assert outcome.search_failed
    assert outcome.result.object_ids == known
    assert (rig.counts.failed, rig.counts.detections) == (1, 1)
    hook.remove()
    assert rig.step().searched == ("cup",)


def test_a_detector_that_fails_in_its_thread_costs_its_search_and_is_asked_again(rig: Rig) -> None:
    rig.step()

    def fail() -> None:
        raise RuntimeError("the detector is ill")

    hook = rig.before_it_decodes(fail)
    rig.redetector.follow(FollowedConcept("cup", period=1e6, rules=RULES))
    rig.settle()
    assert (rig.counts.failed, rig.counts.detections) == (1, 0)
    assert rig.step().result.object_ids == (), "tracking goes on"
    hook.remove()
    rig.redetector.lost(frozenset({"cup"}))  # due again
    rig.settle()
    assert (rig.counts.failed, rig.counts.detections) == (1, 1)
    assert rig.step().result.object_ids


def test_a_frame_that_cannot_be_tracked_leaves_its_search_to_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.redetector.follow(every(100))
    with pytest.raises(Exception, match="image"):
        rig.inference.submit(lambda session: session.step(np.zeros((3,), np.uint8), 0, None)).result(TIMEOUT)
    assert rig.step().searched == ("cup",)


def test_the_end_of_the_detector_breaks_its_search_off_and_tracking_goes_on(rig: Rig) -> None:
    rig.redetector.follow(every(1))
    rig.before_it_decodes(rig.thread.stop)
    outcome = rig.step()
    assert outcome.search_failed
    rig.thread.ended.result(TIMEOUT)
    assert (rig.counts.failed, rig.counts.dropped) == (0, 1)
    assert rig.step().searched == ()
