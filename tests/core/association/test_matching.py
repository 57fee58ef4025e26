"""What a detected instance is to the tracking: decisions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sam_core.association import (
    Association,
    Decision,
    KnownObject,
    MatchRules,
    associate,
    concept_key,
)
from sam_core.streaming import (
    CroppedMask,
)
from tests.core.association.drawn import H, W, box, cup


@pytest.mark.parametrize("right", [20, 25, 28])
def test_an_instance_on_a_tracked_object_is_that_object(right: int) -> None:
    known = [KnownObject(4, "", box(40, 0, 50, 10)), KnownObject(7, "", box(right - 10, 10, right, 20))]
    decision = associate(cup(box(10, 10, 20, 20), score=0.1), known, MatchRules(match_iou=0.1))
    assert (decision.association, decision.object_id) == (Association.TRACKED, 7)
    assert decision.overlap == pytest.approx((30 - right) / (10 + right - 20))


def test_of_two_tracked_objects_the_better_match_is_meant() -> None:
    known = [KnownObject(1, "", box(10, 10, 16, 20)), KnownObject(2, "", box(12, 10, 20, 20))]
    assert associate(cup(box(10, 10, 20, 20)), known, MatchRules()) == Decision(Association.TRACKED, 2, 0.8)


def test_what_overlaps_too_little_is_new_if_its_score_suffices() -> None:
    known = [KnownObject(1, "cup", box(19, 10, 29, 20))]  # IoU 10 / 190
    instance = cup(box(10, 10, 20, 20), score=0.7)
    assert associate(instance, known, MatchRules()) == Decision(Association.NEW, None, 10 / 190)
    assert associate(instance, known, MatchRules(match_iou=0.05)).association is Association.TRACKED
    assert associate(instance, known, MatchRules(new_score=0.71)) == Decision(Association.UNSURE, None, 10 / 190)
    assert associate(instance, [], MatchRules()).association is Association.NEW


def test_the_limit_counts_objects_of_the_concept_alone() -> None:
    known = [KnownObject(1, "cup", box(0, 0, 5, 5)), KnownObject(2, "plate", box(50, 0, 55, 5))]
    instance = cup(box(10, 10, 20, 20), phrase="  CUP ")
    assert associate(instance, known, MatchRules(max_objects=2)).association is Association.NEW
    assert associate(instance, known, MatchRules(max_objects=1)).association is Association.LIMIT_REACHED


def test_a_lost_object_of_the_concept_is_reidentified_whatever_the_score_and_the_limit() -> None:
    lost = KnownObject(3, "cup", box(50, 30, 60, 40), lost=True)
    rules = MatchRules(max_objects=1)
    decision = associate(cup(box(10, 10, 20, 20), score=0.55), [lost], rules)
    assert (decision.association, decision.object_id) == (Association.REIDENTIFIED, 3)
    assert associate(cup(box(10, 10, 20, 20), phrase="plate"), [lost], rules).association is Association.NEW


def test_of_lost_objects_the_one_last_seen_nearest_is_meant() -> None:
    known = [
        KnownObject(1, "cup", None, lost=True),
        KnownObject(2, "cup", box(50, 30, 60, 40), lost=True),
        KnownObject(3, "cup", box(14, 10, 24, 20), lost=True),
    ]
    assert associate(cup(box(10, 10, 20, 20)), known, MatchRules()).object_id == 3
    assert associate(cup(box(45, 25, 55, 35)), known, MatchRules()).object_id == 2
    assert associate(cup(box(45, 25, 55, 35)), known[:1], MatchRules()).object_id == 1


def test_where_a_lost_object_was_seen_last_it_does_not_match() -> None:
    """A lost cup's old place may hold another thing: a plate there is a new object."""
    lost = KnownObject(3, "cup", box(10, 10, 20, 20), lost=True)
    assert associate(cup(box(10, 10, 20, 20), phrase="plate"), [lost], MatchRules()).association is Association.NEW


def test_an_empty_mask_is_nothing() -> None:
    empty = cup(CroppedMask.of(np.zeros((H, W), bool)))
    assert associate(empty, [KnownObject(1, "cup", None, lost=True)], MatchRules()) == Decision(Association.EMPTY)


@pytest.mark.parametrize(
    ("rules", "text"),
    [({"match_iou": 0.0}, "above 0"), ({"match_iou": float("nan")}, "nan"), ({"new_score": 1.1}, "1")],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MatchRules(**rules)


def test_concepts_differ_by_more_than_case_and_spacing() -> None:
    assert concept_key(" Yellow  CUP\n") == concept_key("yellow cup") != concept_key("yellowcup")
