"""Two things that look alike, one or both of them lost: who keeps which id, with the shipped tracker and true masks.

The true masks stand for a perfect detector, so what is shown here is what matching and tracker can and cannot do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import pytest

from sam_core import Tracker, build_tracker
from sam_core.association import LIVE, Association, ConceptTracker, Decision, Instance, hand_over
from sam_core.streaming import CroppedMask
from sam_core.synthetic import TwinScene

FPS = 8.0
HIDING, LEAVING = 1, 2  # the red circles' numbers in the truth
SEEN = 0.3  # IoU with the truth on every visible frame: enough to tell the circles apart, which do not touch
Spans = Mapping[int, tuple[float, float]]  # number -> when it is hidden, s


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return build_tracker("sam2_nano", device="cpu")


class Play:
    """The scene of the twins under a tracker, with any of them hidden at will."""

    def __init__(self, tracker: Tracker, hidden: Spans) -> None:
        self.stream = tracker.open_stream(max_objects=4)
        self.concepts = ConceptTracker(self.stream)
        self._scene = TwinScene(width=320, height=240, fps=FPS)
        self._hidden = hidden

    def frames(self, seconds: float) -> Iterator[tuple[float, Mapping[int, CroppedMask]]]:
        """Track; yield each frame's time, and the true masks of the twins that are visible."""
        empty = self._scene._wall
        for index in range(round(seconds * FPS)):
            scene = self._scene.render(index)
            image, labels = scene.image.copy(), scene.labels.copy()
            for number, (start, end) in self._hidden.items():
                if start <= index / FPS < end:
                    around = cv2.dilate((labels == number).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
                    image[around] = empty[around]
                    labels[labels == number] = 0
            self.concepts.step(image, index)
            truth = {number: CroppedMask.of(labels == number) for number in (HIDING, LEAVING)}
            yield index / FPS, {number: mask for number, mask in truth.items() if mask.area}

    def detect(self, truth: Mapping[int, CroppedMask]) -> dict[int, Decision]:
        """Track what a perfect detector finds on the newest frame."""
        frame = self.stream.history.frame_at()
        found = [Instance("red circle", 0.9, mask) for mask in truth.values()]
        outcome = hand_over(lambda call: call(self.concepts), frame, "red circle", found, LIVE, counted=True)
        assert outcome.problems == ()
        return {number: one for number, one in zip(truth, outcome.decisions, strict=True) if one is not None}

    def mask_of(self, object_id: int) -> CroppedMask | None:
        """Return where an object is on the newest frame."""
        return self.stream.history.frame_at().mask_of(object_id, self.stream.mask_threshold)


@pytest.mark.parametrize("lost", [HIDING, LEAVING])
def test_while_one_is_lost_its_id_does_not_go_to_the_other(tracker: Tracker, lost: int) -> None:
    """Every frame is searched: as often as the visible one is found, it stays what it is."""
    play = Play(tracker, {lost: (1.0, 2.5)})
    other = HIDING + LEAVING - lost
    ids: dict[int, int] = {}
    for seconds, truth in play.frames(4.0):
        decisions = play.detect(truth)
        if not ids:
            ids = {number: decision.object_id for number, decision in decisions.items() if decision.object_id}
            continue
        for number, mask in truth.items():
            assert decisions[number].object_id == ids[number], f"{seconds} s"
            now = play.mask_of(ids[number])
            # A frame that is searched in the moment of the return is one on which the tracker did not see it yet.
            assert (now and now.overlap(mask) >= SEEN) or decisions[number].association is Association.REIDENTIFIED
        assert decisions[other].association is Association.TRACKED
        assert (play.mask_of(ids[lost]) is not None) == (lost in truth) or 2.5 <= seconds < 2.75
    assert len(play.stream.objects) == 2


@pytest.mark.slow
def test_both_lost_and_back_in_turn_keep_their_ids_where_each_comes_back_near_its_place(tracker: Tracker) -> None:
    play = Play(tracker, {HIDING: (1.0, 3.0), LEAVING: (1.0, 2.0)})
    ids: list[dict[int, int | None]] = []
    for _, truth in play.frames(4.0):
        decisions = play.detect(truth)
        ids.append({number: decision.object_id for number, decision in decisions.items()})
    first = ids[0]
    assert [found for found in ids if found.items() - first.items()] == []
    assert {number for found in ids[-4:] for number in found} == {HIDING, LEAVING}
    assert len(play.stream.objects) == 2
