"""Loading of SAM 3's tracker: the official names and shapes in three layouts, what is left out, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reference.sam3_tracker import LIKE_REFERENCE, toy_pair
from sam_core import CheckpointError, Prompt, build_tracker, model_names
from sam_core.build import build_model
from sam_core.sam3 import build_detector, build_network
from sam_core.sam3.tracker_names import tracker_part

Manifest = Callable[[str], dict[str, list[int]]]
_VISION = "detector.backbone.vision_backbone."


def as_meta(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name a tracker's tensors as Meta's `sam3.pt` does."""
    named = {}
    for name, tensor in ours.items():
        if name.startswith("image_encoder."):
            named[_VISION + name.removeprefix("image_encoder.")] = tensor
            continue
        name = re.sub(r"^memory_attention\.", "transformer.encoder.", name)
        name = re.sub(r"^memory_encoder\.", "maskmem_backbone.", name)
        name = re.sub(r"^(sam_mask_decoder\.transformer.*\.mlp)\.layers\.0", r"\1.lin1", name)
        name = re.sub(r"^(sam_mask_decoder\.transformer.*\.mlp)\.layers\.1", r"\1.lin2", name)
        named[f"tracker.{name}"] = tensor
    return named


def whole_file(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any] = lambda state: None) -> Path:
    """Write detector and tracker of the toy on one trunk as Meta's `sam3.pt` has them."""
    tracker, detector = build_model("sam3_toy"), build_network("sam3_toy")
    detector.backbone.vision_backbone.trunk.load_state_dict(tracker.image_encoder.trunk.state_dict())
    state = {f"detector.{name}": tensor for name, tensor in detector.state_dict().items()}
    state |= as_meta(tracker.state_dict())
    change(state)
    path = tmp_path / "sam3.pt"
    torch.save({"model": state}, path)
    return path


def meta_tensors(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes(state: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


def full_size() -> dict[str, Tensor]:
    with torch.device("meta"):
        return build_model("sam3").state_dict()


@pytest.mark.parametrize("name", ["sam3_video", "sam3_tracker_with_backbone"])
def test_official_names_and_shapes_are_ours(manifest: Manifest, name: str) -> None:
    official = manifest(name)
    found, ignored = tracker_part(meta_tensors(official))
    assert shapes(found) == shapes(full_size())
    assert len(found) + len(ignored) == len(official)


def test_whole_file_is_detector_and_tracker(manifest: Manifest) -> None:
    """Both ways: our two networks, named as the file does, are the file; nothing of it is left over."""
    with torch.device("meta"):
        detector = build_network("sam3").state_dict()
    ours = shapes({f"detector.{name}": tensor for name, tensor in detector.items()}) | shapes(as_meta(full_size()))
    assert ours == manifest("sam3_video")


@pytest.mark.parametrize("name", ["hf_sam3_video", "hf_sam3_tracker_video"])
def test_hugging_face_names_and_shapes_are_ours(manifest: Manifest, name: str) -> None:
    found, ignored = tracker_part(meta_tensors(manifest(name)))
    tables = {key for key in full_size() if key.endswith("freqs_cis")}
    assert shapes(found) == {key: shape for key, shape in shapes(full_size()).items() if key not in tables}
    assert all(key.startswith("detector_model.") for key in ignored)
    assert bool(ignored) == (name == "hf_sam3_video")


def test_one_file_for_both(tmp_path: Path) -> None:
    path = whole_file(tmp_path)
    state = torch.load(path)["model"]
    tracker = build_tracker("sam3_toy", path, "cpu", "float32")
    for name, tensor in as_meta(tracker.model.state_dict()).items():
        assert torch.equal(tensor, state[name]), name
    detector = build_detector("sam3_toy", path, "cpu", "float32")
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, state[f"detector.{name}"]), name
    left_out = len(detector.load_report.ignored)  # type: ignore[union-attr]
    assert left_out + len(detector.network.state_dict()) == len(state)


@pytest.mark.parametrize("layout", ["Sam3TrackerVideo", "Sam3Video"])
def test_hugging_face_layouts(tmp_path: Path, layout: str) -> None:
    """Weights that went through the reference's own state dict come back as they were."""
    ours, reference = toy_pair(optimise=False)
    state = {name: tensor.contiguous().clone() for name, tensor in reference.state_dict().items()}
    if layout == "Sam3Video":
        state = {video_name(name): tensor for name, tensor in state.items()}
        state["detector_model.text_projection.weight"] = torch.zeros(2)
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    loaded = build_tracker("sam3_toy", path, "cpu", "float32", LIKE_REFERENCE).model.state_dict()
    for name, tensor in ours.state_dict().items():
        expected = torch.cat((torch.zeros_like(tensor[:, :1]), tensor[:, 1:]), 1) if "pos_embed" in name else tensor
        assert torch.equal(loaded[name], expected), name


def video_name(name: str) -> str:
    if name.startswith("vision_encoder.neck."):
        return name.replace("vision_encoder.neck.", "tracker_neck.")
    return ("detector_model." if name.startswith("vision_encoder.") else "tracker_model.") + name


def test_toy_tracks_with_its_file(tmp_path: Path) -> None:
    """What was loaded tracks as the network it was saved from does, on a half-precision file, too."""
    path = whole_file(tmp_path, lambda state: state.update({k: half(v) for k, v in state.items()}))
    tracker = build_tracker("sam3_toy", path, "cpu", "float32")
    assert tracker.dtype == torch.float32
    stream = tracker.open_stream(max_objects=1)
    stream.step(np.zeros((50, 60, 3), np.uint8))
    assert stream.add_prompt(Prompt(box=[10, 10, 30, 40])).masks.shape == (1, 50, 60)


def half(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_complex() else tensor.half()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("tracker.no_obj_ptr"), r"1 of \d+ tensors are missing \(no_obj_ptr\)"),
        (lambda state: state.pop(f"{_VISION}sam2_convs.1.conv_3x3.bias"), r"missing \(image_encoder\.sam2_convs\.1"),
        (lambda state: state.update({"tracker.novel": torch.zeros(1)}), r"unknown to the model \(novel\)"),
        (lambda state: state.update({"novel": torch.zeros(1)}), r"unknown to the model \(novel\)"),
        (lambda state: state.update({"tracker.no_obj_ptr": torch.zeros(1, 3)}), r"no_obj_ptr is \(1, 3\) in the file"),
        (lambda state: state["tracker.no_obj_ptr"].fill_(torch.nan), r"NaN or infinity \(no_obj_ptr\)"),
        (lambda state: state.update({"tracker.model.no_obj_ptr": torch.zeros(1)}), r"SAM 3\.1"),
        (
            lambda state: [state.pop(name) for name in list(state) if name.startswith("tracker.")],
            r"it has no tracker; use sam3\.pt",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str) -> None:
    path = whole_file(tmp_path, change)
    with pytest.raises(CheckpointError, match=r"sam3\.pt does not fit sam3_toy: .*" + message):
        build_tracker("sam3_toy", path, "cpu", "float32")


def test_a_sam2_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sam2.pt"
    torch.save({"model": build_model("sam2.1_micro").state_dict()}, path)
    with pytest.raises(CheckpointError, match="it is a SAM 2 checkpoint"):
        build_tracker("sam3_toy", path, "cpu", "float32")


def test_only_models_with_a_tracker_are_trackers() -> None:
    names = model_names()
    assert {"sam3", "sam3_toy", "sam2_nano"} <= set(names)
    assert "sam3_nano" not in names
    with pytest.raises(ValueError, match=r"no tracker 'sam3_nano'; known are .*sam3_toy"):
        build_tracker("sam3_nano")
