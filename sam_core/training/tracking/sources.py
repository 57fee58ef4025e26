"""Sources of batches: the generator, or the clips of a user's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sam_core.training.scenes import SceneSettings
from sam_core.training.tracking.batches import Batch, NoObjectError, SmallestAreas, areas, collate, synthetic_batch
from sam_core.training.tracking.folder import ClipSource
from sam_core.training.tracking.pictures import PictureShape
from sam_core.training.tracking.settings import ClipStage

__all__ = ["count_objects", "draw_batch", "scenes_at"]

_TRIES = 50


def scenes_at(stage: ClipStage, progress: float, rng: np.random.Generator) -> SceneSettings:
    """Return the distribution of a step: the harder one with a probability of ``progress``."""
    if stage.harder is not None and rng.random() < progress:
        return stage.harder
    return stage.scenes


def draw_batch(
    rng: np.random.Generator,
    stage: ClipStage,
    progress: float,
    clips: Sequence[ClipSource] | None,
    stride: int,
    smallest_object: float,
) -> Batch:
    """Draw a batch.

    Args:
        rng: source of randomness.
        stage: the stage.
        progress: 0 at its start, 1 at its end.
        clips: of a user's folder; None to generate.
        stride: largest step between two frames of a user's video.
        smallest_object: of a user's clips, px of the model's image that it shows in the first frame.

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
            return collate(drawn, stage.objects, rng, SmallestAreas.of_annotated(smallest_object))
        except NoObjectError:
            continue
    raise ValueError(f"{_TRIES} times in a row no clip began with an object: are the masks empty, or is all too small?")


def count_objects(clips: Sequence[ClipSource], picture: PictureShape, smallest_object: float) -> tuple[int, int]:
    """Count the objects on the first frame of a user's clips, and those that are too small to begin with.

    Args:
        clips: of a user's folder.
        picture: the model's image.
        smallest_object: as for `draw_batch`.
    """
    rng = np.random.default_rng(0)
    shown = np.concatenate([areas(clip.clip(rng, picture, 1, 1))[:, 0] for clip in clips])
    return int((shown > 0).sum()), int(((shown > 0) & (shown < smallest_object)).sum())
