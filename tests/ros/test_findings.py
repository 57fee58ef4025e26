"""A search keeps little: masks are cropped as they are found, and what is no longer followed leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch
from rclpy.logging import get_logger

from sam_core import build_tracker
from sam_core.association import ConceptRules, FollowedConcept
from sam_core.sam3 import ConceptDetector, Detections, build_detector
from sam_core.streaming import Frame, FrameHistory
from sam_ros.detection import findings
from sam_ros.detection.counts import DetectionCounts
from sam_ros.detection.findings import Submit, find
from sam_ros.detection.redetector import Redetector
from sam_ros.detection.search import Search, SearchError
from sam_ros.tracking.session import Session

H, W = 120, 160


@pytest.fixture(scope="module")
def detector() -> ConceptDetector:
    torch.manual_seed(0)
    detector = build_detector("sam3_toy", device="cpu")
    with torch.no_grad():
        detector.network.transformer.decoder.presence_token_head.layers[-1].bias.fill_(5.0)
    return detector


def frame() -> Frame:
    picture = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    features: Any = None  # a detection has its own
    return Frame(number=0, stamp=0, size=(H, W), features=features, picture=picture)


def search_for(count: int) -> Search:
    return Search(tuple(f"thing {i}" for i in range(count)), None, 0.0, None, None)


@pytest.mark.slow
def test_masks_of_the_images_size_do_not_add_up(detector: ConceptDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[weakref.ref[Detections]] = []
    alive: list[int] = []
    select = detector._select

    def watched(*arguments: Any) -> Detections:
        gc.collect()
        alive.append(sum(ref() is not None for ref in found))
        result = select(*arguments)
        found.append(weakref.ref(result))
        return result

    monkeypatch.setattr(detector, "_select", watched)
    asked: list[Any] = []
    monkeypatch.setattr(Detections, "masks", property(asked.append))
    results, _ = find(detector, frame(), search_for(24))
    assert len(found) == 24
    assert len(results) == 24 * 12
    assert max(alive) <= 1, "those of a phrase are gone before the next one's are made"
    assert asked == [], "masks are taken in parts"
    assert all(item.instance.mask.image_size == (H, W) for item in results)


def test_a_search_that_finds_too_much_is_refused(detector: ConceptDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = find(detector, frame(), search_for(2))
    size = sum(item.instance.mask.pixels.nbytes for item in results)
    monkeypatch.setattr(findings, "LARGEST_FINDINGS", size - 1)
    with pytest.raises(SearchError, match="raise the score threshold, set max_instances, or ask for fewer phrases"):
        find(detector, frame(), search_for(2))
    monkeypatch.setattr(findings, "LARGEST_FINDINGS", size)
    assert len(find(detector, frame(), search_for(2))[0]) == len(results)


@pytest.fixture
def submit() -> Submit:
    """A way to a stream in this thread."""
    session = Session(build_tracker("sam2.1_micro", device="cpu").open_stream(max_objects=1))

    def run(call: Any) -> Any:
        future: Future[Any] = Future()
        future.set_result(call(session))
        return future

    return run


def test_concepts_that_are_followed_no_more_leave_no_frames_behind(detector: ConceptDetector, submit: Submit) -> None:
    history = FrameHistory(4, 2**30)
    redetector = Redetector(lambda: history, submit, counts=DetectionCounts(), refuse=str, logger=get_logger("test"))
    searched: list[weakref.ref[Frame]] = []
    for i in range(5):
        redetector.follow(FollowedConcept(f"thing {i}", period=1e6, rules=ConceptRules(score_threshold=1.0)))
        seen = frame()
        searched.append(weakref.ref(seen))
        history = FrameHistory(4, 2**30, frames=(seen,))
        redetector.run(detector)
        assert redetector.unfollow(f"thing {i}")
        assert redetector._searched == {}
    history = FrameHistory(4, 2**30)
    del seen
    gc.collect()
    assert [ref for ref in searched if ref() is not None] == []
