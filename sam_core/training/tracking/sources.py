"""Sources of batches: the generator, or the clips of a user's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sam_core.training.scenes import SceneSettings
from sam_core.training.tracking.batches import Batch, NoObjectError, collate, synthetic_batch
from sam_core.training.tracking.folder import ClipSource
from sam_core.training.tracking.settings import ClipStage

__all__ = ["draw_batch", "scenes_at"]

_TRIES = 50


def scenes_at(stage: ClipStage, progress: float, rng: np.random.Generator) -> SceneSettings:
    """Return the distribution of a step: the harder one with a probability of ``progress``."""
    if stage.harder is not None and rng.random() < progress:
        return stage.harder
    return stage.scenes


def draw_batch(
    rng: np.random.Generator, stage: ClipStage, progress: float, clips: Sequence[ClipSource] | None, stride: int
) -> Batch:
    """Draw a batch.

    Args:
        rng: source of randomness.
        stage: the stage.
        progress: 0 at its start, 1 at its end.
        clips: of a user's folder; None to generate.
        stride: largest step between two frames of a user's video.

    Raises:
        ValueError: a file is damaged, or no clip has an object in its first frame.
    """
    scenes, count = scenes_at(stage, progress, rng), stage.clips
    if scenes.frames > 1 and rng.random() < stage.stills:
        scenes, count = replace(scenes, frames=1), stage.still_clips
    if clips is None:
        return synthetic_batch(rng, replace(scenes, size=stage.size), count, stage.objects)
    for _ in range(_TRIES):
        chosen = [clips[int(k)] for k in rng.integers(0, len(clips), count)]
        try:
            drawn = [source.clip(rng, stage.picture, scenes.frames, stride) for source in chosen]
            return collate(drawn, stage.objects, rng)
        except NoObjectError:
            continue
    raise ValueError(f"{_TRIES} times in a row no clip began with an object: are the masks empty, or is all too small?")
