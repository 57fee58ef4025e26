"""Two things that look alike, one or both of them lost: who keeps which id, with the shipped tracker and true masks.

The true masks stand for a perfect detector, so what is shown here is what matching and tracker can and cannot do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import pytest

from sam_core import Tracker, build_tracker
from sam_core.association import (
    Association,
    Decision,
    Instance,
    KnownObject,
    MatchRules,
    TrackHistory,
    associate,
    track_instance,
)
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
        self.tracks = TrackHistory()
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
            self.stream.step(image, index)
            self.tracks.observe(self.stream)
            truth = {number: CroppedMask.of(labels == number) for number in (HIDING, LEAVING)}
            yield index / FPS, {number: mask for number, mask in truth.items() if mask.area}

    def detect(self, truth: Mapping[int, CroppedMask]) -> dict[int, Decision]:
        """Track what a perfect detector finds on the newest frame."""
        frame = self.stream.history.frame_at()
        return {
            number: track_instance(self.stream, self.tracks, frame, Instance("red circle", 0.9, mask), MatchRules())
            for number, mask in truth.items()
        }

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


# --- What it cannot do: nothing but the place tells lost look-alikes apart --------------------------------------------


def spot(x: int) -> CroppedMask:
    mask = np.zeros((40, 100), bool)
    mask[10:20, x : x + 10] = True
    return CroppedMask.of(mask)


def test_lost_look_alikes_that_changed_places_change_ids() -> None:
    known = [KnownObject(1, "cup", spot(5), lost=True), KnownObject(2, "cup", spot(80), lost=True)]
    back = associate(Instance("cup", 0.9, spot(70)), known, MatchRules())  # be it 1, which went across
    assert (back.association, back.object_id) == (Association.REIDENTIFIED, 2)


def test_of_two_that_come_back_on_one_image_the_better_score_chooses() -> None:
    """The nearest for both together would be 1 for the second and 2 for the first."""
    known = [KnownObject(1, "cup", spot(5), lost=True), KnownObject(2, "cup", spot(80), lost=True)]
    first = associate(Instance("cup", 0.9, spot(40)), known, MatchRules())
    assert first.object_id == 1
    second = associate(Instance("cup", 0.8, spot(8)), [KnownObject(1, "cup", spot(40)), known[1]], MatchRules())
    assert second.object_id == 2


def test_another_look_alike_takes_the_place_of_a_lost_one() -> None:
    known = [KnownObject(1, "cup", spot(5), lost=True), KnownObject(2, "cup", spot(80))]
    third = associate(Instance("cup", 0.6, spot(40)), known, MatchRules(new_score=0.7))
    assert (third.association, third.object_id) == (Association.REIDENTIFIED, 1)
    assert (
        associate(Instance("cup", 0.6, spot(40)), known[1:], MatchRules(new_score=0.7)).association
        is Association.UNSURE
    )
