"""Names of settings from before 0.2: accepted with a warning, and they mean what they meant."""

from __future__ import annotations

import warnings

import pytest

from sam_core import Tracker, build_tracker
from sam_core.streaming.renamed import RENAMED, override_with_new_name, with_new_names
from sam_core.streaming.settings import CHOICES

OLD = [(old, was, new, now) for old, (new, values) in RENAMED.items() for was, now in values.items()]


@pytest.mark.parametrize(("old", "was", "new", "now"), OLD)
def test_an_old_name_is_accepted_with_a_warning(micro_tracker: Tracker, old: str, was: str, new: str, now: str) -> None:
    assert now in CHOICES[new]
    with pytest.warns(FutureWarning, match=f"{old}: {was} is now called {new}: {now}; the old name will go"):
        stream = micro_tracker.open_stream(max_objects=1, **{old: was})
    assert getattr(stream._settings, new) == now


def test_a_model_may_still_be_described_by_old_names(micro_tracker: Tracker) -> None:
    with pytest.warns(FutureWarning, match="overlaps: look is now called non_overlap: color_histogram"):
        tracker = Tracker(micro_tracker.model, "micro", overlaps="look")
    assert tracker.choices == {"non_overlap": "color_histogram"}
    assert tracker.open_stream(max_objects=1)._settings.non_overlap == "color_histogram"


@pytest.mark.parametrize(
    ("override", "expected"),
    [("overlaps=keep", {"non_overlap": "none"}), ("edges=keep", {"mask_refinement": "none"})],
)
def test_an_override_may_use_an_old_name(override: str, expected: dict[str, str]) -> None:
    with pytest.warns(FutureWarning, match="is now called"):
        tracker = build_tracker("sam2_nano", device="cpu", overrides=[override])
    assert tracker.choices.items() >= expected.items()


@pytest.mark.parametrize("override", ["model.image_size=512", "non_overlap=none", "~non_overlap", "+overlaps=keep"])
def test_other_overrides_are_left_as_they_are(override: str) -> None:
    assert override_with_new_name(override) == override


def test_an_unknown_value_of_an_old_name_is_refused(micro_tracker: Tracker) -> None:
    with (
        pytest.warns(FutureWarning, match="overlaps: share"),
        pytest.raises(ValueError, match="non_overlap must be one of"),
    ):
        micro_tracker.open_stream(max_objects=1, overlaps="share")


def test_the_warning_points_to_the_caller(micro_tracker: Tracker) -> None:
    with pytest.warns(FutureWarning, match="edges") as caught:
        micro_tracker.open_stream(max_objects=1, edges="keep")
    assert caught[0].filename == __file__


def test_new_names_give_no_warning() -> None:
    settings = {"non_overlap": "none", "max_objects": 3, "mask_refinement": None}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_new_names(settings) == settings


def test_an_old_name_without_a_value_means_the_models_choice(micro_tracker: Tracker) -> None:
    tracker = Tracker(micro_tracker.model, "micro", non_overlap="color_histogram")
    with pytest.warns(FutureWarning, match="overlaps"):
        stream = tracker.open_stream(max_objects=1, overlaps=None)
    assert stream._settings.non_overlap == "color_histogram"
