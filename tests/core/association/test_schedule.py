"""When a followed concept is due."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sam_core.association import LIVE, FollowedConcept, RedetectionSchedule, concept_key


def test_concepts_differ_by_more_than_case_and_spacing() -> None:
    assert concept_key(" Yellow  CUP\n") == concept_key("yellow cup") != concept_key("yellowcup")
    assert concept_key("the yellow_cups") == concept_key("yellow cup") != concept_key("yellow mug")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_followed_concept_is_due_at_once_and_then_every_period() -> None:
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    assert (schedule.wait(), schedule.take_due()) == (None, ())
    cups = FollowedConcept("cup", 5.0)
    schedule.follow(cups)
    assert schedule.wait() == 0
    assert schedule.take_due() == (cups,)
    assert (schedule.wait(), schedule.take_due()) == (5, ())
    clock.now += 4
    schedule.follow(FollowedConcept("plate", 2.0))
    assert [concept.phrase for concept in schedule.take_due()] == ["plate"]
    assert schedule.wait() == 1
    clock.now += 2
    assert [concept.phrase for concept in schedule.take_due()] == ["cup", "plate"]
    assert schedule.phrases == ("cup", "plate")


def test_a_loss_makes_its_concept_due_and_no_other() -> None:
    schedule = RedetectionSchedule(Clock())
    schedule.follow(FollowedConcept("Cup", 5.0))
    schedule.follow(FollowedConcept("plate", 5.0))
    schedule.take_due()
    assert not schedule.lost(["fork"])
    assert not schedule.take_due()
    assert schedule.lost(["cup", "fork"])
    assert [concept.phrase for concept in schedule.take_due()] == ["Cup"]


def test_schedule_again_changes_the_settings_and_unschedule_ends_it() -> None:
    schedule = RedetectionSchedule(Clock())
    schedule.follow(FollowedConcept("cup", 5.0))
    schedule.follow(FollowedConcept("CUP ", 1.0))
    assert [concept.period for concept in schedule.take_due()] == [1.0]
    assert schedule.unfollow(" Cup")
    assert not schedule.unfollow("cup")
    assert schedule.wait() is None
    assert not schedule.unfollow_all()
    schedule.follow(FollowedConcept("cup", 5.0))
    assert schedule.unfollow_all()
    assert schedule.take_due() == ()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"phrase": " "}, r"^the phrase is empty: name a concept, for instance 'yellow cup'$"),
        ({"period": 0.0}, "^the period must be a number of seconds above 0, not 0$"),
        ({"period": -2.5}, "above 0, not -2.5$"),
        ({"period": float("inf")}, "above 0, not inf$"),
        ({"period": float("nan")}, "above 0, not nan$"),
        ({"every_n_frames": -1}, r"^every_n_frames must be within \[0, 100000\], not -1$"),
        ({"every_n_frames": 100_001}, "not 100001$"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FollowedConcept(**{"phrase": "cup", **settings})


def test_a_concept_is_looked_for_every_five_seconds_by_the_rules_for_a_robot() -> None:
    cups = FollowedConcept("the red cups")
    assert (cups.period, cups.every_n_frames, cups.rules, cups.key) == (5.0, 0, LIVE, "red cup")
    assert FollowedConcept("cup", every_n_frames=100_000).every_n_frames == 100_000


def test_a_concept_that_counts_frames_is_due_after_so_many_and_never_by_the_clock() -> None:
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    cups = FollowedConcept("cup", every_n_frames=3)
    schedule.follow(cups)
    assert schedule.take_due() == (cups,), "at once"
    clock.now += 1e6
    assert (schedule.wait(), schedule.take_due()) == (None, ())
    assert [schedule.frame_came() for _ in range(4)] == [False, False, True, True], "due until it is taken"
    assert schedule.wait() == 0
    assert schedule.take_due() == (cups,)
    assert not schedule.frame_came()
    assert schedule.lost(["cup"]), "a lost object does not wait for its frames"
    assert schedule.take_due() == (cups,)


def test_the_schedule_tells_what_is_still_followed_and_takes_other_rules() -> None:
    schedule = RedetectionSchedule(Clock())
    cups = FollowedConcept("cup")
    schedule.follow(cups)
    assert schedule.follows(cups)
    schedule.replace_rules(lambda rules: replace(rules, hot_start=3))
    assert [concept.rules.hot_start for concept in schedule.take_due()] == [3]
    assert schedule.follows(cups), "other rules are no other wish"
    schedule.follow(FollowedConcept("cup", period=2.0))
    assert not schedule.follows(cups)
    assert schedule.unfollow("cup")
    assert not schedule.follows(cups)


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_the_ends_of_a_range_belong_to_it(extreme: float) -> None:
    concept = FollowedConcept("cup", 1e-3, rules=replace(LIVE, new_score=extreme))
    assert concept.rules.new_score == extreme


def test_concepts_by_the_clock_and_by_frames_are_asked_for_apart() -> None:
    """As the node does: what counts frames is searched in the step, what goes by the clock beside it."""
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    by_clock, by_frames = FollowedConcept("cup", 4.0), FollowedConcept("plate", every_n_frames=2)
    for concept in (by_clock, by_frames):
        schedule.follow(concept)
    assert (schedule.wait(counts_frames=True), schedule.wait(counts_frames=False)) == (0, 0)
    assert schedule.take_due(counts_frames=True) == (by_frames,)
    assert (schedule.wait(counts_frames=True), schedule.wait(counts_frames=False)) == (None, 0)
    assert schedule.take_due(counts_frames=True) == ()
    assert schedule.take_due(counts_frames=False) == (by_clock,)
    assert (schedule.wait(counts_frames=False), schedule.wait()) == (4.0, 4.0)
    clock.now += 4.0
    assert schedule.take_due() == (by_clock,), "due at the very moment"


def test_frames_are_counted_anew_after_a_search_that_came_early() -> None:
    schedule = RedetectionSchedule(Clock())
    plates = FollowedConcept("plate", every_n_frames=2)
    schedule.follow(plates)
    schedule.take_due()
    assert not schedule.frame_came()
    schedule.lost(["plate"])
    assert schedule.frame_came(), "it is due, and further frames are not counted"
    assert schedule.take_due() == (plates,)
    assert [schedule.frame_came(), schedule.frame_came()] == [False, True]


def test_frames_make_no_concept_due_that_goes_by_the_clock() -> None:
    schedule = RedetectionSchedule(Clock())
    schedule.follow(FollowedConcept("cup", 4.0))
    assert not schedule.frame_came(), "it is due, but not by frames"
    schedule.take_due()
    assert not any(schedule.frame_came() for _ in range(5))
    assert schedule.take_due() == ()


def test_a_loss_brings_a_search_forward_and_never_back() -> None:
    clock = Clock()
    schedule = RedetectionSchedule(clock)
    schedule.follow(FollowedConcept("cup", 4.0))
    clock.now += 3.0
    assert schedule.lost(["cup"])
    assert schedule.wait() == 0
    clock.now += 1.0
    schedule.take_due()
    assert schedule.wait() == 4.0


def test_what_is_followed_no_more_is_no_longer_due_and_a_loss_of_it_concerns_nobody() -> None:
    schedule = RedetectionSchedule(Clock())
    for phrase in ("cup", "plate"):
        schedule.follow(FollowedConcept(phrase, every_n_frames=1))
    assert schedule.unfollow("cup")
    assert not schedule.lost(["cup"])
    assert [concept.phrase for concept in schedule.take_due()] == ["plate"]
    assert schedule.unfollow_all()
    assert not schedule.lost(["plate"])
    assert (schedule.phrases, schedule.frame_came(), schedule.wait()) == ((), False, None)


def test_without_a_clock_of_its_own_it_goes_by_the_machines() -> None:
    schedule = RedetectionSchedule()
    schedule.follow(FollowedConcept("cup", 1e6))
    schedule.take_due()
    left = schedule.wait()
    assert left is not None
    assert 0 < left <= 1e6
