"""Typed settings of a tracker's training run, composed by Hydra from ``config/training``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from sam_core.configuration import load_config
from sam_core.sam1.build import sam1_names
from sam_core.training.checks import Count, Share, Whole, Within, checked, make
from sam_core.training.scenes import SceneSettings
from sam_core.training.settings import RunSettings, Stage, compose
from sam_core.training.tracking.interaction import PromptPlan
from sam_core.training.tracking.losses import LossWeights
from sam_core.training.tracking.pictures import PictureShape

__all__ = ["ClipStage", "TrackingSettings", "load_tracking_settings"]


@dataclass(frozen=True)
class ClipStage(Stage):
    """One stage of a run.

    Attributes:
        picture: the model's image: its side is a multiple of 32 px, or the model's own.
        clips: clips a step.
        objects: largest number of objects of a clip.
        prompts: how objects are prompted.
        scenes: distribution of the clips; of one frame for a stage of still images.
        harder: a second distribution whose share rises linearly from 0 to 1 during the stage; None for none.
        stills: share of steps on still images in a stage of clips, so that answers to prompts stay good.
        still_clips: images of such a step.
        silent: successive frames of a clip that are only tracked, without loss and gradient (see ``clip_losses``).
    """

    picture: PictureShape
    clips: Count
    objects: Count
    prompts: PromptPlan
    scenes: SceneSettings
    harder: SceneSettings | None
    stills: Share = 0.0
    still_clips: Count = 8
    silent: Whole = 0

    @property
    def size(self) -> int:
        """Side of the model's image, px."""
        return self.picture.side


@dataclass(frozen=True)
class TrackingSettings(RunSettings):
    """A training run; ``config/training/nano.yaml`` explains each value."""

    deepen: bool
    folder: str | None
    split: str | None
    validation: str | None
    validation_split: str | None
    held_out: float
    stride: Count
    smallest_object: Annotated[float, Within(1)]
    freeze: tuple[str, ...]
    initialise: bool
    checkpointing: bool
    loss: LossWeights
    evaluate_clips: Count
    file_type: str
    file_dtype: str
    stages: tuple[ClipStage, ...]

    def __post_init__(self) -> None:
        """Refuse settings that are out of range.

        Raises:
            ValueError: see the message.
        """
        super().__post_init__()
        frames = [
            scenes.frames for stage in self.stages for scenes in (stage.scenes, stage.harder) if scenes is not None
        ]
        if self.is_sam1 and max(frames) > 1:
            raise ValueError("SAM 1 has no memory to follow things with: set scenes.frames=1 in every stage.")
        if self.is_sam1 and self.deepen:
            raise ValueError("SAM 1 cannot be started from a shallower model: set deepen=false.")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is a share of the clips, 0 or more and less than 1, not {self.held_out}.")
        if self.file_type not in ("safetensors", "pt", "pth"):
            raise ValueError(f"file_type is safetensors, pt or pth, not {self.file_type!r}.")
        if self.file_dtype not in ("float16", "bfloat16", "float32"):
            raise ValueError(f"file_dtype is float16, bfloat16 or float32, not {self.file_dtype!r}.")

    @property
    def is_sam1(self) -> bool:
        """Whether the model is SAM 1, which segments still images."""
        return self.model in sam1_names()


def load_tracking_settings(name: str, overrides: Sequence[str] = ()) -> TrackingSettings:
    """Compose the settings of a run; arguments and errors as in `compose`."""

    def build(values: dict[str, Any]) -> TrackingSettings:
        scenes, model = values.pop("scenes", {}), checked(str, values["model"], "model")
        overrides = checked(tuple[str, ...], values["model_overrides"], "model_overrides")
        native = PictureShape(_image_size(model, overrides), keep_aspect=model in sam1_names())
        stages = [_stage(stage, scenes, native, f"stages.{k}") for k, stage in enumerate(values["stages"])]
        return make(TrackingSettings, {**values, "stages": stages})

    return compose(name, overrides, build)


def _image_size(model: str, overrides: Sequence[str]) -> int:
    """Return the image size of a model's configuration, px."""
    config = load_config("models", model, overrides)
    return int((config.tracker if "tracker" in config else config.model).image_size)


def _stage(raw: dict[str, Any], common: dict[str, Any], native: PictureShape, where: str) -> dict[str, Any]:
    """Return the values of a stage, those in common filled in."""
    size = checked(Count | None, raw.get("size"), f"{where}.size") or native.side
    if size % 32 and size != native.side:
        raise ValueError(f"{where}: size {size} is not a multiple of 32")
    scenes = {**common, **raw.get("scenes", {}), "size": size}
    harder = raw.get("harder")
    values = {
        **raw,
        "picture": replace(native, side=size),
        "prompts": raw.get("prompts", {}),
        "scenes": scenes,
        "harder": None if harder is None else {**scenes, **harder},
    }
    values.pop("size", None)
    return values
