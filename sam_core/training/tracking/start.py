"""The model that a run starts from, and the names under which its weights are released."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sam_core.build import build_model, known_models
from sam_core.checkpoints import load_checkpoint, read_state_dict
from sam_core.checkpoints.sam1 import as_published as as_published_sam1
from sam_core.sam1.build import build_sam1
from sam_core.sam2.model import Sam2
from sam_core.sam3.checkpoint import load_tracker_checkpoint
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.sam3.tracker_names import as_published
from sam_core.training.tracking.deepen import load_shallower
from sam_core.training.tracking.freeze import freeze
from sam_core.training.tracking.initialise import initialise
from sam_core.training.tracking.sam1 import PromptableSam1
from sam_core.training.tracking.settings import TrackingSettings

__all__ = ["Trainee", "published_weights", "set_image_size", "start_model"]


Trainee = Sam2 | PromptableSam1


def start_model(settings: TrackingSettings) -> Trainee:
    """Build a model with random weights, those of a checkpoint, or those of a shallower one, and freeze parts of it.

    Raises:
        ValueError: there is no such model, or a setting does not fit it.
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    model = _start_sam1(settings) if settings.is_sam1 else _start_sam2(settings)
    freeze(model, settings.freeze)
    return model


def _start_sam1(settings: TrackingSettings) -> PromptableSam1:
    target = f"model._target_={PromptableSam1.__module__}.{PromptableSam1.__qualname__}"
    model = build_sam1(settings.model, settings.start_weights(), [*settings.model_overrides, target])
    assert isinstance(model, PromptableSam1)
    return model


def _start_sam2(settings: TrackingSettings) -> Sam2:
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
    return model


def published_weights(model: Trainee, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's weights under the names of its published checkpoint; SAM 1's and SAM 3's have their own."""
    if isinstance(model, PromptableSam1):
        return as_published_sam1(values)
    return as_published(values) if isinstance(model, Sam3Tracker) else dict(values)


def set_image_size(model: Trainee, size: int) -> None:
    """Set the image size of a model, px; no weight of SAM 2 depends on it.

    Raises:
        ValueError: the model cannot work at that size.
    """
    if size == model.image_size:
        return
    if isinstance(model, (PromptableSam1, Sam3Tracker)):
        kind = "SAM 1" if isinstance(model, PromptableSam1) else "SAM 3"
        raise ValueError(f"{kind}'s position tables are for {model.image_size} px: a stage cannot have size {size}.")
    perceiver = getattr(model, "spatial_perceiver", None)
    if perceiver is not None and (size // 16) % perceiver.grid_size:
        raise ValueError(
            f"EdgeTAM's memory needs a size that is a multiple of {16 * perceiver.grid_size} px, not {size}."
        )
    model.image_size = size
    model.sam_prompt_encoder.image_size = size
    model.sam_prompt_encoder.grid_size = size // 16
