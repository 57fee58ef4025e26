"""Segment and track anything in a live camera and in images: SAM 1, SAM 2, SAM 2.1 and SAM 3, without ROS.

Names are imported when they are first used (PEP 562): a program that only shows results, such as the console, needs the
errors alone, and does not pay for PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sam_core.errors import (
    CapacityError,
    CheckpointError,
    ImageError,
    NoFrameError,
    ObjectIdError,
    PromptError,
    SavedObjectError,
    StampError,
    UnknownObjectError,
)

if TYPE_CHECKING:
    from sam_core.automatic_masks import AutomaticMasks, FoundMask
    from sam_core.build import build_predictor, build_tracker, model_names, predictor_names
    from sam_core.still_images import EncodedImage, ImageMasks, ImagePredictor
    from sam_core.streaming import (
        FrameResult,
        ObjectInfo,
        ObjectState,
        Prompt,
        Stream,
        StreamReport,
        Tracker,
        TrackRules,
        TrackState,
    )

__all__ = [
    "AutomaticMasks",
    "CapacityError",
    "CheckpointError",
    "EncodedImage",
    "FoundMask",
    "FrameResult",
    "ImageError",
    "ImageMasks",
    "ImagePredictor",
    "NoFrameError",
    "ObjectIdError",
    "ObjectInfo",
    "ObjectState",
    "Prompt",
    "PromptError",
    "SavedObjectError",
    "StampError",
    "Stream",
    "StreamReport",
    "TrackRules",
    "TrackState",
    "Tracker",
    "UnknownObjectError",
    "build_predictor",
    "build_tracker",
    "model_names",
    "predictor_names",
]

_MODULES = {  # where the names above that need PyTorch are defined
    "automatic_masks": ("AutomaticMasks", "FoundMask"),
    "build": ("build_predictor", "build_tracker", "model_names", "predictor_names"),
    "still_images": ("EncodedImage", "ImageMasks", "ImagePredictor"),
    "streaming": (
        "FrameResult",
        "ObjectInfo",
        "ObjectState",
        "Prompt",
        "Stream",
        "StreamReport",
        "TrackRules",
        "TrackState",
        "Tracker",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name of the library when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
