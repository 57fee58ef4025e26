"""The states of a track over time: sequences worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sam_core import TrackRules, TrackState
from sam_core.streaming import TrackStatus

RULES = TrackRules(occluded_after=3, lost_after=10.0, found_after=2)  # frames are 2 apart
LETTERS = {TrackState.TRACKED: "t", TrackState.OCCLUDED: "o", TrackState.LOST: "l"}


def run(seen: str, rules: TrackRules = RULES, stamps: Sequence[Any] | None = None) -> tuple[str, TrackStatus]:
    """Return the states, a letter each, after frames on which the object is seen (+) or not (-)."""
    status = TrackStatus().prompted(True, -2 if stamps is None else None)
    states = ""
    for number, sign in enumerate(seen):
        stamp = 2 * number if stamps is None else stamps[number]
        status = status.after(sign == "+", stamp, rules)
        states += LETTERS[status.state]
    return states, status


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        ("++--+--+", "tttttttt"),  # never three frames in a row without it
        ("+---++", "tttoot"),  # occluded from the third on, tracked from the second with it on
        ("---+-+-+", "ttoollll"),  # it flickers: found by nothing less than two in a row, lost 10 after it was tracked
        ("------++", "ttoolllt"),
        ("-----------+-+-++", "ttoo" + "l" * 12 + "t"),
    ],
)
def test_sequences(seen: str, states: str) -> None:
    assert run(seen)[0] == states


def test_last_seen_is_the_newest_frame_with_it_in_any_state() -> None:
    _, status = run("+----+-")
    assert (status.state, status.last_seen, status.seen, status.unseen) == (TrackState.LOST, 10, 0, 1)
    assert status.away == 12, "it was tracked last at 0"


@pytest.mark.parametrize(
    "stamps",
    [[None] * 12, ["a"] * 12, [np.arange(3)] * 12, [float("nan")] * 12, list(range(12, 0, -1)), [5] * 12],
    ids=["none", "texts", "arrays", "nan", "backwards", "standing"],
)
def test_without_time_nothing_is_lost(stamps: list[Any]) -> None:
    assert run("-" * 12, stamps=stamps)[0] == "tt" + "o" * 10


def test_without_a_limit_nothing_is_lost_and_with_none_at_once() -> None:
    assert run("-" * 40, TrackRules(occluded_after=3))[0] == "tt" + "o" * 38
    assert run("----", TrackRules(occluded_after=2, lost_after=0.0))[0] == "tlll"


def test_stamps_that_go_back_take_no_time_away() -> None:
    """A recording in a loop: what has passed before stays counted."""
    stamps = [0.0, 0.4, 0.8, 0.0, 0.4, 0.8]
    assert run("------", TrackRules(occluded_after=1, lost_after=1.0), stamps)[0] == "ooooll"


def test_what_was_loaded_is_lost_until_it_is_seen_twice_in_a_row() -> None:
    status = TrackStatus(TrackState.LOST, awaited=True)
    states = []
    for number, visible in enumerate([False, True, False, True, True, False]):
        status = status.after(visible, number, RULES)
        states.append((status.state, status.awaited))
    assert states == [(TrackState.LOST, True)] * 4 + [(TrackState.TRACKED, False)] * 2


def test_a_prompt_tracks_at_once_what_is_seen_and_ends_the_search_for_what_is_not() -> None:
    lost = TrackStatus(TrackState.LOST, 1.0, 5.0, unseen=20, away=4.0, awaited=True)
    assert lost.prompted(True, 6.0) == TrackStatus(TrackState.TRACKED, 6.0, 6.0, seen=1)
    assert lost.prompted(False, 6.0) == TrackStatus(TrackState.LOST, 1.0, 5.0, unseen=20, away=4.0)


@pytest.mark.parametrize(
    "wrong",
    [{"occluded_after": 0}, {"found_after": 0}, {"lost_after": -1.0}, {"lost_after": float("nan")}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_rules_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrackRules(**wrong)
