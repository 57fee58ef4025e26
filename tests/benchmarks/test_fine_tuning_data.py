"""The small data sets of the page on fine-tuning, and J of a tracker on a folder of clips."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vos_benchmark")

from benchmarks.fine_tuning.nuclei import write_nuclei
from benchmarks.fine_tuning.workbench import make_workbench_clip, write_workbench
from benchmarks.quality.folder import judge_videos
from sam_core import build_tracker
from sam_core.training.tracking.davis import find_videos
from sam_core.training.tracking.folder import find_clips


def test_the_workbench_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    write_workbench(tmp_path, training=2, held_out=1, frames=4)
    training, held_out = find_videos(tmp_path, "train"), find_videos(tmp_path, "val")
    assert [video.name for video in (*training, *held_out)] == ["bench_000", "bench_001", "bench_002"]
    clip = make_workbench_clip(1, frames=4)
    image, labels = training[1].read(3)
    assert np.array_equal(labels, clip.labels[3])
    assert np.abs(image.astype(int) - clip.images[3]).mean() < 10  # JPEG
    figures = judge_videos(build_tracker("sam2.1_micro", device="cpu", dtype="float32"), held_out, "box")
    assert figures["objects"] > 0
    assert 0 <= figures["j"] <= 1
    assert 0 < figures["static"] < 1  # the things move


@pytest.mark.skipif(find_spec("stardist") is None, reason="the package with the images is not installed")
def test_nuclei_of_a_package_are_read(tmp_path: Path) -> None:
    counts = write_nuclei(tmp_path)
    assert (len(find_clips(tmp_path, "train")), len(find_clips(tmp_path, "val"))) == (12, 4)
    for split, count in counts.items():
        images = find_clips(tmp_path, split)
        clips = [image.clip(np.random.default_rng(0), 128, 1, 1) for image in images]
        assert sum(clip.objects for clip in clips) == count
        inside = np.concatenate([clip.images[clip.labels > 0] for clip in clips]).mean()
        outside = np.concatenate([clip.images[clip.labels == 0] for clip in clips]).mean()
        assert inside > 2 * outside  # nuclei are bright
