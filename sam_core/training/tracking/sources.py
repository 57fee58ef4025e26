"""Sources of batches: the generator, or a user's folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sam_core.training.scenes import SceneSettings
from sam_core.training.tracking.batches import Batch, collate, synthetic_batch
from sam_core.training.tracking.davis import Video, clip_from
from sam_core.training.tracking.settings import ClipStage

__all__ = ["draw_batch", "scenes_at"]

_TRIES = 50


def scenes_at(stage: ClipStage, progress: float, rng: np.random.Generator) -> SceneSettings:
    """Return the distribution of a step: the harder one with a probability of ``progress``."""
    if stage.harder is not None and rng.random() < progress:
        return stage.harder
    return stage.scenes


def draw_batch(
    rng: np.random.Generator, stage: ClipStage, progress: float, videos: list[Video] | None, stride: int
) -> Batch:
    """Draw a batch.

    Args:
        rng: source of randomness.
        stage: the stage.
        progress: 0 at its start, 1 at its end.
        videos: a user's videos; None to generate.
        stride: largest step between two frames of a user's video.

    Raises:
        ValueError: the videos hold no object that shows in the first frame of a clip.
    """
    scenes, count = scenes_at(stage, progress, rng), stage.clips
    if scenes.frames > 1 and rng.random() < stage.stills:
        scenes, count = replace(scenes, frames=1), stage.still_clips
    if videos is None:
        return synthetic_batch(rng, replace(scenes, size=stage.size), count, stage.objects)
    for _ in range(_TRIES):
        chosen = [videos[int(k)] for k in rng.integers(0, len(videos), count)]
        try:
            return collate([clip_from(v, rng, stage.size, scenes.frames, stride) for v in chosen], stage.objects, rng)
        except ValueError:
            continue
    raise ValueError(f"{_TRIES} clips in a row begin without an object: are the masks empty?")
