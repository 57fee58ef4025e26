"""Names of SAM 3's tracker in each layout of its checkpoints, and how they become those of `Sam3Tracker`.

Meta's file and the Hugging Face ones hold the same numbers. Our network names its heads as SAM 2 does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.sam3.hugging_face import is_hugging_face_detector, rename_hugging_face_detector

# Meta's names for parts that SAM 2 names otherwise.
_META_RULES: tuple[tuple[str, str], ...] = (
    (r"^transformer\.encoder\.", "memory_attention."),
    (r"^maskmem_backbone\.", "memory_encoder."),
    (r"^(sam_mask_decoder\.transformer\.layers\.\d+\.mlp)\.lin1\.", r"\1.layers.0."),
    (r"^(sam_mask_decoder\.transformer\.layers\.\d+\.mlp)\.lin2\.", r"\1.layers.1."),
)
_VISION = "backbone.vision_backbone."
_OURS = "image_encoder."
_USED = (f"{_VISION}trunk.", f"{_VISION}sam2_convs.")

State = Mapping[str, Tensor]


def holds_tracker(state: State) -> bool:
    """Tell whether a file has the tracker's weights at all."""
    return any("maskmem_backbone." in name or "memory_encoder." in name for name in state)


def tracker_part(state: State) -> tuple[dict[str, Tensor], list[str]]:
    """Take a tracker's tensors from a file, under the names of `Sam3Tracker`.

    Unknown names pass through with whatever rules apply, so that a strict check names them.

    Args:
        state: Meta's `sam3.pt` (`detector.*` and `tracker.*`), the Hugging Face layout of it (`Sam3Video`:
            `detector_model.*`, `tracker_model.*`, `tracker_neck.*`), or that of the tracker alone (`Sam3TrackerVideo`).

    Returns:
        The tensors, and the names in the file that only the detector needs.
    """
    if is_hugging_face_detector(state):
        return _hugging_face_part(state)
    vision, heads, ignored = _split(state, "detector.", "tracker.", lambda name: name.startswith(_USED))
    return {**_as_ours(vision), **{_rename(name): tensor for name, tensor in heads.items()}}, ignored


def as_published(state: State) -> dict[str, Tensor]:
    """Rename a tracker's tensors from the names of `Sam3Tracker` to those of Meta's `sam3.pt`, without the detector's.

    The heads whose names differ keep ours, which `tracker_part` takes, too.
    """
    return {
        f"detector.{_VISION}{name.removeprefix(_OURS)}" if name.startswith(_OURS) else f"tracker.{name}": tensor
        for name, tensor in state.items()
    }


def _hugging_face_part(state: State) -> tuple[dict[str, Tensor], list[str]]:
    def is_used(name: str) -> bool:
        return name.startswith(("vision_encoder.backbone.", "tracker_neck."))

    if not any(name.startswith("detector_model.") for name in state):  # the tracker alone: its neck is the only one
        state = {re.sub(r"^vision_encoder\.neck\.", "tracker_neck.", name): tensor for name, tensor in state.items()}
    vision, heads, ignored = _split(state, "detector_model.", "tracker_model.", is_used)
    return {**_as_ours(rename_hugging_face_detector(vision)), **rename_hugging_face_sam2(heads)}, ignored


def _split(
    state: State, detector: str, tracker: str, is_used: Callable[[str], bool]
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Split a file into the tensors of the vision backbone that are used, those of the heads, and names to ignore."""
    vision: dict[str, Tensor] = {}
    heads: dict[str, Tensor] = {}
    ignored: list[str] = []
    for name, tensor in state.items():
        bare = name.removeprefix(detector)
        if is_used(bare):
            vision[bare] = tensor
        elif name.startswith((detector, f"{_VISION}convs.")):
            ignored.append(name)
        else:
            heads[name.removeprefix(tracker)] = tensor
    return vision, heads, ignored


def _as_ours(vision: State) -> dict[str, Tensor]:
    return {_OURS + name.removeprefix(_VISION): tensor for name, tensor in vision.items()}


def _rename(name: str) -> str:
    for pattern, replacement in _META_RULES:
        name = re.sub(pattern, replacement, name)
    return name
