from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam_core.training.generator import Clip, make_clip
from sam_core.training.scenes import SceneSettings
from sam_core.training.tracking.batches import collate, synthetic_batch

SMALL = SceneSettings(size=64, frames=5, photo_share=0.0, events=0.7)


def test_same_seed_same_clip() -> None:
    first, second = (make_clip(np.random.default_rng(3), SMALL) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    other = make_clip(np.random.default_rng(4), SMALL)
    assert not np.array_equal(first.images, other.images)


def test_clip_shapes_and_labels() -> None:
    clip = make_clip(np.random.default_rng(0), SMALL)
    assert clip.images.shape == (5, 64, 64, 3)
    assert clip.labels.shape == (5, 64, 64)
    assert SMALL.objects[0] <= clip.objects <= SMALL.objects[1]
    assert clip.labels.max() <= clip.objects


def test_objects_are_absent_in_a_fifth_of_the_supervised_frames() -> None:
    rng = np.random.default_rng(1)
    settings = SceneSettings(size=64, frames=8, photo_share=0.0, events=0.6)
    absent = total = 0
    for _ in range(25):
        batch = synthetic_batch(rng, settings, 1, 3)
        absent += int((~batch.visible[:, 1:]).sum())
        total += batch.visible[:, 1:].numel()
    assert absent / total >= 0.2


def test_crossing_objects_touch_and_part() -> None:
    """Two objects that cross touch in more clips than by chance, and are apart at another time."""
    touched: dict[float, int] = {}
    parted = 0
    for crossing in (0.0, 1.0):
        settings = SceneSettings(size=64, frames=8, objects=(2, 2), photo_share=0.0, events=0.0, crossing=crossing)
        clips = [make_clip(np.random.default_rng(seed), settings) for seed in range(40)]
        touching = np.array([[_touch(labels) for labels in clip.labels] for clip in clips])
        touched[crossing] = int(touching.any(1).sum())
        parted = int((touching.any(1) & ~touching.all(1)).sum())
    assert touched[1.0] >= 36
    assert touched[0.0] <= 25
    assert parted >= 0.8 * touched[1.0]


def _touch(labels: NDArray[np.uint8]) -> bool:
    near = np.asarray(cv2.dilate((labels == 1).astype(np.uint8), np.ones((3, 3), np.uint8)))
    return bool((near.astype(bool) & (labels == 2)).any())


def test_photo_textures_change_the_clip() -> None:
    pytest.importorskip("skimage")
    clip = make_clip(np.random.default_rng(0), SceneSettings(size=64, frames=1, photo_share=1.0))
    assert len(np.unique(clip.images.reshape(-1, 3), axis=0)) > 500


def test_collate_takes_objects_of_the_first_frame() -> None:
    labels = np.zeros((3, 64, 64), np.uint8)
    labels[:, 10:30, 10:30] = 1
    labels[1, 10:30, 10:30] = 0  # hidden on the middle frame
    labels[2, 40:60, 40:60] = 2  # appears too late
    clip = Clip(np.zeros((3, 64, 64, 3), np.uint8), labels, 2)
    batch = collate([clip], 4, np.random.default_rng(0))
    assert batch.clip.tolist() == [0]
    assert batch.visible.tolist() == [[True, False, True]]
    assert batch.sure.all()
    assert batch.targets.shape == (1, 3, 32, 32)
    assert torch.equal(batch.targets[0, 0], torch.from_numpy((labels[0, ::2, ::2] == 1).astype(np.float32)))
    with pytest.raises(ValueError, match="first frame"):
        collate([Clip(clip.images, np.zeros_like(labels), 2)], 4, np.random.default_rng(0))


def test_an_object_without_a_pixel_in_the_target_is_not_visible() -> None:
    """A line of one pixel's width covers no half of any cell of the target."""
    labels = np.zeros((3, 64, 64), np.uint8)
    labels[:, 10:30, 10:30] = 1
    labels[1] = 0
    labels[1, np.arange(5, 59), np.arange(5, 59) + 1] = 1
    labels[:, np.arange(4, 58), np.arange(4, 58) + 5] = 2
    batch = collate([Clip(np.zeros((3, 64, 64, 3), np.uint8), labels, 2)], 4, np.random.default_rng(0))
    assert batch.visible.tolist() == [[True, False, True]]  # and the second object is left out
    assert batch.sure.tolist() == [[True, False, True]]
    assert (batch.targets.sum((2, 3)) > 0).equal(batch.visible)


def test_scenes_without_objects_end_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="no generated clip began with an object"):
        synthetic_batch(np.random.default_rng(0), SceneSettings(size=64, frames=1, radius=(0.001, 0.002)), 1, 1)
