"""The model that a run starts from, and the names under which its weights are released."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sam_core.build import build_model, known_models
from sam_core.checkpoints import load_checkpoint, read_state_dict
from sam_core.sam2.model import Sam2
from sam_core.sam3.checkpoint import load_tracker_checkpoint
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.sam3.tracker_names import as_published
from sam_core.training.tracking.deepen import load_shallower
from sam_core.training.tracking.freeze import freeze
from sam_core.training.tracking.initialise import initialise
from sam_core.training.tracking.settings import TrackingSettings

__all__ = ["published_weights", "set_image_size", "start_model"]


def start_model(settings: TrackingSettings) -> Sam2:
    """Build a model with random weights, those of a checkpoint, or those of a shallower one, and freeze parts of it.

    Raises:
        ValueError: there is no such model, or a setting does not fit it.
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    model = build_model(settings.model, settings.model_overrides)
    source = settings.start_weights()
    if settings.initialise and (source is None or settings.deepen):
        initialise(model)
    if source is not None and settings.deepen:
        load_shallower(model, read_state_dict(source))
    elif source is not None and isinstance(model, Sam3Tracker):
        load_tracker_checkpoint(model, source, settings.model)
        model.float()  # it took over the file's tensors, in their dtype
    elif source is not None:
        load_checkpoint(model, source, settings.model, known_models)
    freeze(model, settings.freeze)
    return model


def published_weights(model: Sam2, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights under the names of its published checkpoint; SAM 3's has its own."""
    return as_published(values) if isinstance(model, Sam3Tracker) else dict(values)


def set_image_size(model: Sam2, size: int) -> None:
    """Set the image size of a model, px; no weight of SAM 2 depends on it.

    Raises:
        ValueError: the model cannot work at that size.
    """
    if size == model.image_size:
        return
    if isinstance(model, Sam3Tracker):
        raise ValueError(f"SAM 3's position tables are for {model.image_size} px: a stage cannot have size {size}.")
    perceiver = getattr(model, "spatial_perceiver", None)
    if perceiver is not None and (size // 16) % perceiver.grid_size:
        raise ValueError(
            f"EdgeTAM's memory needs a size that is a multiple of {16 * perceiver.grid_size} px, not {size}."
        )
    model.image_size = size
    model.sam_prompt_encoder.image_size = size
    model.sam_prompt_encoder.grid_size = size // 16
