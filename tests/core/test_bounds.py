"""What a prompt may cost is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from sam_core import Prompt, PromptError, Stream, Tracker
from sam_core.streaming.prompt import MAX_POINTS


@pytest.fixture
def stream(micro_tracker: Tracker) -> Stream:
    """A stream that has seen one frame."""
    stream = micro_tracker.open_stream(max_objects=2)
    stream.step(picture(0))
    return stream


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def points(count: int) -> Prompt:
    return Prompt(points=[[i % 64, i % 48] for i in range(count)], labels=[1] * count)


def test_a_prompt_has_at_most_a_hundred_points(stream: Stream) -> None:
    assert stream.add_prompt(points(MAX_POINTS)).object_ids == (1,)
    with pytest.raises(PromptError, match=r"at most 100 points on one frame, not 40000\. Give a mask, or fewer points"):
        stream.add_prompt(points(40_000))
    assert len(stream.objects) == 1


def test_clicks_pile_up_to_a_hundred_on_a_frame(stream: Stream) -> None:
    stream.add_prompt(points(MAX_POINTS - 1))
    stream.add_prompt(points(1), object_id=1)
    with pytest.raises(PromptError, match="at most 100 points on one frame, not 101: it has 100 already"):
        stream.add_prompt(points(1), object_id=1)
    stream.step(picture(1))
    assert stream.add_prompt(points(MAX_POINTS), object_id=1).object_ids == (1,), "the next frame has room"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("x" * 1_000_000, "The label has 1000000 characters; at most 256 are allowed"),
        ("cup\n[ERROR] it burns", r"control character U\+000A"),
        ("\x1b[2J", r"control character U\+001B"),
        ("\x00", r"control character U\+0000"),
        ("\u202egnp.exe", r"control character U\+202E"),
    ],
)
def test_a_label_is_short_text(stream: Stream, label: str, text: str) -> None:
    with pytest.raises(PromptError, match=text):
        stream.add_prompt(points(1), label=label)
    assert stream.objects == ()


@pytest.mark.parametrize("label", ["x" * 256, "gelbe Tasse № 3", "黄色いカップ", "كوب أصفر", "👩‍🚀"])
def test_labels_of_all_languages_are_taken(stream: Stream, label: str) -> None:
    assert stream.add_prompt(points(1), label=label).labels == (label,)
