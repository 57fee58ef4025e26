"""Strict loading of SAM 3's checkpoints into the detector and into the tracker."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sam_core.checkpoints import read_state_dict
from sam_core.checkpoints.load import describe_differences
from sam_core.errors import CheckpointError
from sam_core.sam3.hugging_face import POINT_PROJECTIONS, is_hugging_face_detector, rename_hugging_face_detector
from sam_core.sam3.network import ConceptNetwork
from sam_core.sam3.tracker import Sam3Tracker
from sam_core.sam3.tracker_names import holds_tracker, tracker_part

_log = logging.getLogger(__name__)

_TRACKER_NECK = "backbone.vision_backbone.sam2_convs."
# Module names that SAM 3.1 ("Object Multiplex") has and SAM 3 has not.
_SAM31_MARKS = ("interactive_convs.", "propagation_convs.", "multiplex", "tracker.model.")
_SAM3_STARTS = ("detector", "backbone.vision_backbone.", "vision_encoder.neck.fpn_layers.")
_SAM2_MARKS = ("image_encoder.trunk.", "sam_mask_decoder.", "vision_encoder.backbone.blocks.")


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint's tensors.

    Attributes:
        layout: `meta` or `hugging face`.
        ignored: names in the file that this network has no use for: the other one's.
        has_points: whether the file held the weights of exemplar points; the Hugging Face layout does not.
    """

    layout: str
    ignored: tuple[str, ...]
    has_points: bool


def load_detector_checkpoint(
    network: ConceptNetwork, path: str | Path, model_name: str = "the SAM 3 detector"
) -> LoadReport:
    """Load a checkpoint: every tensor of the detector must be there with its shape, and nothing unknown.

    Args:
        network: the network to fill, possibly on the meta device: it takes over the file's tensors and their dtype.
        path: Meta's `sam3.pt` (`detector.*` and `tracker.*`, possibly under `"model"`), the detector's own state
            dict, or the Hugging Face layout.
        model_name: what to call the model in messages.

    Raises:
        CheckpointError: the file cannot be read or does not fit; the message names what differs.
    """
    file = Path(path).name
    state = read_state_dict(path)
    expected = network.state_dict()
    refusal = _other_family(state)
    layout = "hugging face" if is_hugging_face_detector(state) else "meta"
    if layout == "hugging face":
        found, ignored = _detector_part(state, "detector_model.", ("tracker_model.", "tracker_neck."))
        found = rename_hugging_face_detector(found)
    else:
        found, ignored = _detector_part(state, "detector.", ("tracker.", f"detector.{_TRACKER_NECK}"))
    has_points = True
    if layout == "hugging face":
        has_points = _fill_what_hugging_face_leaves_out(found, expected)
    _assign(network, found, file, model_name, refusal)
    _log.info("%s: %d tensors loaded (%s layout), %s.", file, len(found), layout, _summary(ignored))
    return LoadReport(layout, tuple(ignored), has_points)


def load_tracker_checkpoint(
    network: Sam3Tracker, path: str | Path, model_name: str = "the SAM 3 tracker"
) -> LoadReport:
    """Load a checkpoint: every tensor of the tracker must be there with its shape, and nothing unknown.

    Args:
        network: the network to fill, possibly on the meta device: it takes over the file's tensors and their dtype.
        path: Meta's `sam3.pt`, or the Hugging Face layout of it (`Sam3Video`) or of its tracker (`Sam3TrackerVideo`).
        model_name: what to call the model in messages.

    Raises:
        CheckpointError: the file cannot be read or does not fit; the message names what differs.
    """
    file = Path(path).name
    state = read_state_dict(path)
    refusal = _other_family(state)
    if not refusal and not holds_tracker(state):
        refusal = "it has no tracker; use sam3.pt, or the Hugging Face file of the whole model"
    layout = "hugging face" if is_hugging_face_detector(state) else "meta"
    found, ignored = tracker_part(state)
    if layout == "hugging face":
        _fill_tables(found, network.state_dict())
    _assign(network, found, file, model_name, refusal)
    _log.info("%s: %d tensors loaded (%s layout), %s.", file, len(found), layout, _summary(ignored))
    return LoadReport(layout, tuple(ignored), has_points=False)


def _assign(network: nn.Module, found: dict[str, Tensor], file: str, model_name: str, refusal: str) -> None:
    """Give a network the tensors of a file, or refuse them."""
    differences = describe_differences(network.state_dict(), found)
    if refusal or differences:
        reasons = "; ".join(part for part in (refusal, differences) if part)
        raise CheckpointError(f"{file} does not fit {model_name}: {reasons}.")
    network.load_state_dict(found, strict=True, assign=True)


def _detector_part(
    state: Mapping[str, Tensor], prefix: str, ignored: tuple[str, ...]
) -> tuple[dict[str, Tensor], list[str]]:
    """Take the tensors under `prefix`, without it, and list those to ignore; a file without the prefix is all ours."""
    if not any(name.startswith(prefix) for name in state):
        return dict(state), []
    found = {name.removeprefix(prefix): tensor for name, tensor in state.items() if not name.startswith(ignored)}
    return found, [name for name in state if name.startswith(ignored)]


def _fill_what_hugging_face_leaves_out(found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Add the rotary tables, which are computed, and zeros for point projections; tell if those were there."""
    names = [f"geometry_encoder.{layer}.{leaf}" for layer in POINT_PROJECTIONS for leaf in ("weight", "bias")]
    present = [name for name in names if name in found]
    if not present:
        found.update({name: torch.zeros(expected[name].shape) for name in names})
    _fill_tables(found, expected)
    return bool(present)


def _fill_tables(found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Add the rotary tables, which are computed."""
    tables = {name: table for name, table in expected.items() if name.endswith(".freqs_cis")}
    found.update({name: table for name, table in tables.items() if name not in found})


def _other_family(state: Mapping[str, Tensor]) -> str:
    """Name the model that a file is really of, where its names give it away; else empty."""
    if mark := next((name for name in state if any(mark in name for mark in _SAM31_MARKS)), None):
        return f"it is a SAM 3.1 checkpoint (it has {mark}), whose tensors differ from SAM 3; use sam3.pt"
    is_sam3 = any(name.startswith(_SAM3_STARTS) for name in state)
    if not is_sam3 and any(mark in name for name in state for mark in _SAM2_MARKS):
        return "it is a SAM 2 checkpoint"
    return ""


def _summary(names: Iterable[str]) -> str:
    """Say how many tensors were ignored under which first two parts of their names."""
    counts: dict[str, int] = {}
    for name in names:
        part = ".".join(name.split(".")[:2]) + ".*"
        counts[part] = counts.get(part, 0) + 1
    if not counts:
        return "none ignored"
    return "ignored: " + ", ".join(f"{count} {part}" for part, count in counts.items())
