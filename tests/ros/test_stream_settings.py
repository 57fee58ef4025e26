"""From the tracker's parameters to a stream."""

from __future__ import annotations

import numpy as np
import pytest

from sam_core import build_tracker
from sam_ros.node.parameters import TrackerParameters
from sam_ros.tracking.stream_settings import open_stream


@pytest.mark.parametrize(("mib", "frames"), [(1, 2), (2, 4), (256, 300)])
def test_as_many_images_are_kept_as_their_number_and_their_memory_allow(mib: int, frames: int) -> None:
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32", overrides=["model.image_size=512"])
    settings = TrackerParameters(history_mib=mib)
    stream = open_stream(
        tracker,
        settings,
        max_objects=1,
        history_frames=settings.history_frames,
        history_mib=settings.history_mib,
    )
    for k in range(8):
        stream.step(np.full((40, 60, 3), k, np.uint8), stamp=k)
    report = stream.report()
    assert report.max_history_frames == frames
    assert report.history_frames == min(8, frames)
    assert report.history_bytes <= mib * 2**20


def test_an_unknown_memory_policy_is_refused() -> None:
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    with pytest.raises(ValueError, match="There is no memory policy 'lifo'; known are "):
        open_stream(tracker, TrackerParameters(memory_policy="lifo"), max_objects=1, history_frames=1)
