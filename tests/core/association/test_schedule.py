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
        ({"phrase": " ", "period": 1.0}, "empty"),
        ({"phrase": "cup", "period": 0.0}, "above 0"),
        ({"phrase": "cup", "period": float("inf")}, "above 0"),
        ({"phrase": "cup", "period": float("nan")}, "above 0"),
        ({"phrase": "cup", "period": 1.0, "every_n_frames": -1}, "within"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FollowedConcept(**settings)


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
