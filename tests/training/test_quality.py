from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("vos_benchmark")

from benchmarks.quality import saved
from benchmarks.quality.clips import make_benchmark_clip
from benchmarks.quality.look_alikes import make_absence_clip, make_distractor_clip
from benchmarks.quality.metrics import average, judge
from benchmarks.quality.run import prompt_for, track
from benchmarks.quality.videos import chosen_videos, track_video
from benchmarks.reference.weights import make_lively
from sam_core import Tracker, build_tracker
from sam_core.build import build_model
from sam_core.streaming import POLICIES


def _truth() -> np.ndarray:
    """Object 1 stands left and is away from frame 4 to 7; object 2 stands right."""
    labels = np.zeros((12, 40, 40), np.uint8)
    labels[:, 5:20, 5:20] = 1
    labels[4:8, 5:20, 5:20] = 0
    labels[:, 22:37, 22:37] = 2
    return labels


def test_a_perfect_tracker_has_perfect_figures() -> None:
    labels = _truth()
    figures = judge(labels == 1, labels, 1)
    assert (figures.first, figures.j, figures.f, figures.j_late) == (1, 1, 1, 1)
    assert (figures.absent, figures.again, figures.switched, figures.static) == (1, 1, 0, 1)


def test_a_switched_mask_is_seen_as_such() -> None:
    labels = _truth()
    masks = labels == 1
    masks[8:] = labels[8:] == 2
    figures = judge(masks, labels, 1)
    assert figures.switched == pytest.approx(4 / 7)  # frames 1-3 and 8-11 are visible
    assert figures.again == 0
    assert figures.j == pytest.approx(3 / 7)


def test_a_mask_that_stays_is_not_absent() -> None:
    labels = _truth()
    masks = np.repeat((labels[0] == 1)[None], 12, 0)
    figures = judge(masks, labels, 1)
    assert figures.absent == 0
    assert figures.j == 1
    half = masks.copy()
    half[:, :, 5:12] = False  # 7 of 15 columns are lost
    assert judge(half, labels, 1).j == pytest.approx(8 / 15)


def test_late_recovery_counts_only_within_ten_frames() -> None:
    labels = np.zeros((30, 40, 40), np.uint8)
    labels[:, 5:20, 5:20] = 1
    labels[2:6] = 0
    masks = labels == 1
    masks[6:17] = False
    assert judge(masks, labels, 1).again == 0
    masks[14] = labels[14] == 1
    assert judge(masks, labels, 1).again == 1


def test_average_skips_what_is_unknown() -> None:
    labels = _truth()
    figures = [judge(labels == k, labels, k) for k in (1, 2)]
    assert np.isnan(figures[1].absent)
    assert average(figures)["absent"] == 1


def test_benchmark_clips_are_fixed_and_hold_their_events() -> None:
    clip = make_benchmark_clip("clear", 1)
    again = make_benchmark_clip("clear", 1)
    assert np.array_equal(clip.images, again.images)
    assert len(clip.images) == 60
    hidden = (clip.labels == 1).sum((1, 2)) == 0
    away = (clip.labels == 2).sum((1, 2)) == 0
    assert hidden.sum() >= 10
    assert away.sum() >= 10
    assert not hidden[0]
    assert not away[0]
    with pytest.raises(ValueError, match="unknown level"):
        make_benchmark_clip("easy", 0)


def test_a_look_alike_passes_in_front_or_enters_or_stays() -> None:
    """Of the object's own sprite, so of about its size; what happens is that of the clip's number."""
    passes, enters, beside = (make_distractor_clip(seed, frames=24, size=96).labels for seed in range(3))
    hidden = [(clip == 1).sum((1, 2)) / (clip[0] == 1).sum() for clip in (passes, enters, beside)]
    twin = [(clip == 2).sum((1, 2)) for clip in (passes, enters, beside)]
    assert hidden[0].min() < 0.6, "partly covered"
    assert hidden[1].min() == 0, "away"
    assert twin[1][0] == 0
    assert twin[1][hidden[1] == 0].max() > 0, "and the look-alike comes meanwhile"
    assert hidden[1][-1] > 0.9
    assert hidden[2].min() > 0.8
    assert twin[2].min() > 0
    again = make_distractor_clip(0, frames=24, size=96)
    assert np.array_equal(again.labels, passes)


def test_an_absence_lasts_as_long_as_asked() -> None:
    clip = make_absence_clip(40, 0, size=96)
    gone = (clip.labels == 1).sum((1, 2)) == 0
    assert len(gone) == 100
    assert 36 <= gone.sum() <= 44
    assert not gone[:20].any()
    assert not gone[-20:].any()
    assert (clip.labels == 2).any((1, 2)).all()


def test_prompts_lie_in_the_object() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:15] = True
    rng = np.random.default_rng(0)
    x, y = prompt_for(mask, "click", rng).points[0]
    assert mask[int(y), int(x)]
    x0, y0, x1, y1 = prompt_for(mask, "box", rng).box
    assert x0 < 7
    assert x1 > 13
    assert y0 < 12
    assert y1 > 28


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    torch.manual_seed(0)
    tracker = build_tracker("sam2.1_micro", device="cpu")
    make_lively(tracker.model, object_score_bias=5.0)
    return tracker


def test_a_tracker_runs_through_a_clip(tracker: Tracker) -> None:
    clip = make_benchmark_clip("clear", 0, frames=4, size=96)
    figures, shown = track(tracker, clip, "mask", 0)
    assert len(figures) >= 2
    assert shown.shape == clip.labels.shape
    assert all(f.first > 0.7 for f in figures)  # a mask prompt is its own answer, at a quarter of 128 px


# --- A user's own videos ----------------------------------------------------------------------------------------------


def write_video(folder: Path, name: str, truth: np.ndarray, masks: dict[int, int], suffix: str = "jpg") -> None:
    """Write frames, and masks of some: from frame to the largest label that it shows."""
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind / name).mkdir(parents=True)
    for t, labels in enumerate(truth):
        image = np.stack([60 * labels, 200 - 60 * labels, labels], 2).astype(np.uint8)
        cv2.imwrite(str(folder / "JPEGImages" / name / f"{t:05d}.{suffix}"), image)
        if t in masks:
            shown = np.where(labels <= masks[t], labels, 0)
            cv2.imwrite(str(folder / "Annotations" / name / f"{t:05d}.png"), shown)


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((8, 64, 96), np.uint8)
    labels[:, 10:40, 5:35] = 1
    labels[:, 20:50, 50:85] = 2
    return labels


@pytest.mark.parametrize("name", ["480p/cup", "cup"], ids=["DAVIS", "MOSE"])
def test_a_video_of_which_every_frame_has_a_mask(
    tracker: Tracker, tmp_path: Path, truth: np.ndarray, name: str
) -> None:
    write_video(tmp_path, name, truth, dict.fromkeys(range(8), 2))
    (video,) = chosen_videos(tmp_path, [name])
    figures = track_video(tracker, video, "mask", 0, POLICIES["fifo"](), 480)
    assert [round(one.static, 2) for one in figures] == [1, 1]
    assert all(one.first > 0.9 for one in figures), "a mask prompt is its own answer"


def test_masks_may_be_sparse_and_objects_come_in_later(tracker: Tracker, tmp_path: Path, truth: np.ndarray) -> None:
    """As in LVOS; object 2 has no mask before frame 4, so it is prompted there."""
    write_video(tmp_path, "cup", truth, {0: 1, 4: 2, 6: 2}, "png")
    write_video(tmp_path, "plate", truth, {0: 2})
    videos = chosen_videos(tmp_path, [])
    assert [(len(video.frames), len(video.images)) for video in videos] == [(3, 8), (1, 8)]
    one, two = track_video(tracker, videos[0], "mask", 0, POLICIES["strided"](), 480)
    assert (one.first > 0.9, two.first > 0.9) == (True, True)
    later = [track_video(tracker, videos[1], "box", 0, POLICIES["fifo"](), 32)]
    assert [[np.isnan(figures.j) for figures in found] for found in later] == [[True, True]], "nothing to judge later"


def test_a_folder_is_measured_by_the_command_of_the_policies(tmp_path: Path, truth: np.ndarray) -> None:
    checkpoint = tmp_path / "mine.pt"
    torch.save({"model": build_model("sam2.1_micro").state_dict()}, checkpoint)
    write_video(tmp_path / "valid", "cup", truth, dict.fromkeys(range(8), 2))
    command = [sys.executable, "-m", "benchmarks.quality.policies", "--folder", str(tmp_path / "valid")]
    command += ["--model", "sam2.1_micro", "--checkpoint", str(checkpoint), "--policies", "fifo", "samurai"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert [line.split(" | ")[:3] for line in done.stdout.splitlines()[2:]] == [
        ["| valid", "fifo", "2"],
        ["| valid", "samurai", "2"],
    ]
    assert "random weights" not in done.stderr


def test_a_folder_that_does_not_fit_is_refused(tracker: Tracker, tmp_path: Path, truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no frame in JPEGImages has a mask"):
        chosen_videos(tmp_path, [])
    write_video(tmp_path, "cup", np.zeros_like(truth), {0: 0})
    with pytest.raises(ValueError, match="has no video plate; it has cup"):
        chosen_videos(tmp_path, ["plate"])
    with pytest.raises(ValueError, match="no mask of cup shows an object"):
        track_video(tracker, chosen_videos(tmp_path, [])[0], "mask", 0, POLICIES["fifo"](), 480)


# --- Saved objects ----------------------------------------------------------------------------------------------------


def test_what_is_taken_for_a_saved_object_is_told_apart(tracker: Tracker, tmp_path: Path) -> None:
    """Random weights find something everywhere; the truth says what it is."""
    saved.save_objects(tracker, "clear", 0, tmp_path, size=96)
    path = sorted(tmp_path.iterdir())[0]
    images = make_benchmark_clip("clear", 0, frames=4, size=96).images
    nothing = np.zeros((4, 96, 96), np.uint8)
    stream = tracker.open_stream(max_objects=1)
    saved.load_object(path, tracker, stream)
    shown = np.stack([stream.step(image).masks[0].cpu().numpy() for image in images]).astype(np.uint8)
    assert shown[2].any()
    assert saved.look_for(tracker, path, images, nothing, 0) == saved.Outcome(False, True, True)
    assert saved.look_for(tracker, path, images, shown, 1) == saved.Outcome(True, False, False)
    assert saved.look_for(tracker, path, images, 2 * shown, 1) == saved.Outcome(False, True, True)
    turned = np.concatenate((shown[:2], 2 * shown[2:]))
    assert saved.look_for(tracker, path, images, turned, 1).wrong
