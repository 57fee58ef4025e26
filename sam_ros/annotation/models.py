"""The networks of a run, with the settings that the node has as parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sam_core import TrackRules, build_tracker
from sam_core.association import ConceptTracker, FrameDetector
from sam_core.streaming import Stream, Tracker
from sam_ros.annotation.errors import AnnotationError
from sam_ros.tracking.stream_settings import open_stream

if TYPE_CHECKING:
    from sam_core.sam3 import ConceptDetector

__all__ = ["ModelSettings", "Models", "NewestModels", "load_models"]

_HISTORY = 2  # frames: prompts are given on the newest one, never late


@dataclass(frozen=True)
class ModelSettings:
    """What the tracker's parameters of the same names say; empty ones leave the choice to the model.

    Attributes:
        model: Name of the tracker's model.
        checkpoint: File of its weights.
        device: Torch device.
        dtype: Number type.
        overrides: Hydra overrides.
        max_objects: Most objects that concepts may add to those that are prompted.
        memory_policy: Which frames enter the memory.
        non_overlap: How overlapping masks are resolved.
        mask_refinement: How masks at the image's size come from the network's.
        click_augmentation: How clicks that begin an object are answered.
        fill_hole_area: Holes up to so many places of the network's mask are filled.
        mask_threshold: A pixel belongs to an object where its logit is above this.
        lost_after: Seconds without an object after which an occluded one is lost.
        detector: Name of the detector's model, for concepts.
        detector_checkpoint: File of its weights.
        detector_overrides: Hydra overrides.
        threads: Torch's threads on a CPU; 0 leaves torch's choice. Results do not change with it only by luck: a run
            keeps its number.
    """

    model: str = "sam2_nano"
    checkpoint: str = ""
    device: str = ""
    dtype: str = ""
    overrides: tuple[str, ...] = ()
    max_objects: int = 16
    memory_policy: str = ""
    non_overlap: str = ""
    mask_refinement: str = ""
    click_augmentation: str = ""
    fill_hole_area: int = 0
    mask_threshold: float = 0.0
    lost_after: float = 3.0
    detector: str = "sam3_nano"
    detector_checkpoint: str = ""
    detector_overrides: tuple[str, ...] = ()
    threads: int = 0

    def facts(self) -> dict[str, Any]:
        """Return what results depend on, as plain values; files of weights with their size and time."""
        facts = asdict(self)
        for name in ("checkpoint", "detector_checkpoint"):
            if facts[name]:
                path = Path(facts[name]).resolve()
                known = path.stat() if path.exists() else None
                facts[name] = [str(path), known and known.st_size, known and known.st_mtime_ns]
        return facts


@dataclass(frozen=True, eq=False)
class Models:
    """The networks, loaded.

    Attributes:
        settings: What they were loaded by.
        tracker: The tracker.
        detector: The detector; None where no concept is looked for.
    """

    settings: ModelSettings
    tracker: Tracker
    detector: ConceptDetector | None = None

    @property
    def is_independent(self) -> bool:
        """Whether an object's masks depend on no other object."""
        return (self.settings.non_overlap or self.tracker.choices.get("non_overlap", "none")) == "none"

    @property
    def detect(self) -> FrameDetector | None:
        """The detector, as the rules call it."""
        return None if self.detector is None else FrameDetector(self.detector)

    def open_stream(self, objects: int, *, with_concepts: bool) -> Stream:
        """Open a stream as the node opens its own.

        Args:
            objects: Objects that are prompted.
            with_concepts: Whether concepts are looked for, too.
        """
        more = self.settings.max_objects if with_concepts else 0
        stream = open_stream(
            self.tracker,
            self.settings,
            max_objects=max(1, objects + more),
            history_frames=_HISTORY,
            reconditioning=with_concepts,
        )
        stream.keep_pictures = with_concepts
        stream.track_rules = TrackRules(lost_after=self.settings.lost_after * 1e9)
        return stream

    def open_session(self, objects: int, *, with_concepts: bool) -> ConceptTracker:
        """Open a stream together with the tracks of its concepts; see `open_stream`."""
        return ConceptTracker(self.open_stream(objects, with_concepts=with_concepts))


def load_models(settings: ModelSettings, *, with_concepts: bool) -> Models:
    """Load the tracker, and where concepts are looked for the detector.

    Raises:
        AnnotationError: A name, a device or a setting is unknown, or a checkpoint cannot be read.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        tracker = build_tracker(
            settings.model,
            checkpoint=settings.checkpoint or None,
            device=settings.device or None,
            dtype=settings.dtype or None,
            overrides=settings.overrides,
        )
        detector = None
        if with_concepts:
            from sam_core.sam3.build import build_detector

            own = settings.detector == settings.model
            detector = build_detector(
                settings.detector,
                checkpoint=settings.detector_checkpoint or (settings.checkpoint if own else "") or None,
                device=settings.device or None,
                dtype=(settings.dtype if own else "") or None,
                overrides=settings.detector_overrides,
                beside=tracker,
            )
        models = Models(settings, tracker, detector)
        models.open_stream(1, with_concepts=False)  # refuses settings that there are not
    except (ValueError, OSError) as error:
        raise AnnotationError(str(error)) from error
    return models


class NewestModels:
    """The models that were asked for last: they stay loaded while passes of the same settings follow each other."""

    def __init__(self) -> None:
        self._models: Models | None = None

    def get(self, settings: ModelSettings, *, with_concepts: bool) -> Models:
        """Return the models of some settings, loaded where they are not those at hand; see `load_models`."""
        known = self._models
        if known is None or known.settings != settings or (with_concepts and known.detector is None):
            self._models = known = None  # their memory is free before others are loaded
            self._models = known = load_models(settings, with_concepts=with_concepts)
        return known
