"""Loading of checkpoints: the official names and shapes, both layouts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sam_core.sam3 import CheckpointError, ConceptNetwork, ExemplarError, Exemplars, build_detector, build_network
from sam_core.sam3.checkpoint import load_detector_checkpoint
from sam_core.sam3.hugging_face import rename_hugging_face_detector

Manifest = Callable[[str], dict[str, list[int]]]
TRACKER = {
    "tracker.maskmem_tpos_enc": torch.zeros(7, 1, 1, 4),
    "tracker.no_mem_embed": torch.zeros(1, 1, 8),
    "detector.backbone.vision_backbone.sam2_convs.0.conv_1x1.bias": torch.zeros(8),
}


def full_size() -> ConceptNetwork:
    with torch.device("meta"):
        return build_network("sam3")


def shapes(state: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in state.items()}


def meta_file(tmp_path: Path, network: ConceptNetwork, nested: bool = True) -> Path:
    """Write a network as Meta's `sam3.pt` has it, with a tracker beside."""
    state = {f"detector.{name}": tensor for name, tensor in network.state_dict().items()} | TRACKER
    path = tmp_path / "sam3.pt"
    torch.save({"model": state} if nested else state, path)
    return path


def assert_same(ours: ConceptNetwork, theirs: ConceptNetwork) -> None:
    expected = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_full_size_has_the_official_names_and_shapes(manifest: Manifest) -> None:
    assert shapes(full_size().state_dict()) == manifest("sam3_image")


@pytest.mark.parametrize(("name", "prefix"), [("hf_sam3", ""), ("hf_sam3_video", "detector_model.")])
def test_hugging_face_names_and_shapes_map_onto_ours(manifest: Manifest, name: str, prefix: str) -> None:
    source = {
        key.removeprefix(prefix): torch.empty(shape, device="meta")
        for key, shape in manifest(name).items()
        if key.startswith(prefix)
    }
    expected = shapes(full_size().state_dict())
    left_out = {key for key in expected if key.endswith("freqs_cis") or ".points_" in key}
    assert len(left_out) == 32 + 6
    assert shapes(rename_hugging_face_detector(source)) == {k: v for k, v in expected.items() if k not in left_out}


@pytest.mark.parametrize("nested", [True, False])
def test_meta_layout(tmp_path: Path, nested: bool) -> None:
    source = build_network("sam3_toy")
    network = build_network("sam3_toy")
    report = load_detector_checkpoint(network, meta_file(tmp_path, source, nested))
    assert_same(network, source)
    assert report.layout == "meta"
    assert set(report.ignored) == set(TRACKER)
    assert report.has_points


def test_bare_detector_and_safetensors(tmp_path: Path) -> None:
    source = build_network("sam3_toy")
    network = build_network("sam3_toy")
    path = tmp_path / "detector.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, path)
    assert load_detector_checkpoint(network, path).ignored == ()
    assert_same(network, source)


@pytest.mark.parametrize("prefix", ["", "detector_model."])
def test_hugging_face_layout(tmp_path: Path, pair: Any, prefix: str) -> None:
    state = {f"{prefix}{name}": tensor.contiguous() for name, tensor in pair.reference.state_dict().items()}
    if prefix:
        state |= {
            "tracker_model.no_memory_embedding": torch.zeros(1),
            "tracker_neck.fpn_layers.0.proj1.bias": torch.ones(2),
        }
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    overrides = [f"sizes.image_size={pair.network.image_size}"]
    if pair.network.image_size == 126:
        overrides += ["sizes.channels=64", "sizes.num_heads=8", "sizes.text_width=48"]
    detector = build_detector("sam3_toy", path, device="cpu", dtype="float32", overrides=overrides)
    expected = pair.network.state_dict()
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, torch.zeros_like(tensor) if ".points_" in name else expected[name]), name
    report = detector.load_report
    assert report is not None
    assert report.layout == "hugging face"
    assert len(report.ignored) == (2 if prefix else 0)
    assert not detector.supports_points
    state_of_image = detector.encode_image(torch.zeros(20, 20, 3, dtype=torch.uint8))
    with pytest.raises(ExemplarError, match="no weights for exemplar points"):
        detector.detect(state_of_image, ["cup"], Exemplars(points=[[3, 3]]))
    assert len(detector.detect(state_of_image, ["cup"], Exemplars(boxes=[[3, 3, 9, 9]]))) == 1


def test_build_takes_over_a_half_precision_file(tmp_path: Path) -> None:
    source = build_network("sam3_toy").half()
    detector = build_detector("sam3_toy", meta_file(tmp_path, source), device="cpu", dtype="float32")
    assert detector.dtype == torch.float32
    assert detector.network.backbone.vision_backbone.trunk.blocks[0].attn.freqs_cis.dtype == torch.complex64
    assert torch.equal(detector.network.dot_prod_scoring.hs_proj.weight, source.dot_prod_scoring.hs_proj.weight.float())


def refusal(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any]) -> str:
    """Load a changed `sam3.pt` and return the message."""
    network = build_network("sam3_toy")
    path = meta_file(tmp_path, network)
    state = torch.load(path)["model"]
    change(state)
    torch.save({"model": state}, path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"^sam3\.pt does not fit") as caught:
        load_detector_checkpoint(network, path, "sam3_toy")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    return str(caught.value)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    name = "dot_prod_scoring.hs_proj.weight"
    message = refusal(tmp_path, lambda state: state.pop(f"detector.{name}"))
    assert "1 of" in message
    assert name in message


def test_unknown_tensor_is_named(tmp_path: Path) -> None:
    for name in ("detector.novel.weight", "novelty.weight"):
        message = refusal(tmp_path, lambda state, name=name: state.update({name: torch.zeros(1)}))
        assert name.removeprefix("detector.") in message


def test_other_shape_is_named(tmp_path: Path) -> None:
    name = "transformer.decoder.query_embed.weight"
    message = refusal(tmp_path, lambda state: state.update({f"detector.{name}": torch.zeros(7, 32)}))
    assert f"{name} is (7, 32) in the file and (12, 32) in the model" in message


@pytest.mark.parametrize(
    "name", ["detector.backbone.vision_backbone.interactive_convs.0.conv_1x1.bias", "tracker.model.maskmem_tpos_enc"]
)
def test_sam_3_1_is_refused_by_name(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, lambda state: state.update({name: torch.zeros(1)}))
    assert "SAM 3.1" in message
    assert name in message


def test_sam_2_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1), "no_mem_embed": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"SAM 2 checkpoint.*tensors are missing"):
        load_detector_checkpoint(build_network("sam3_toy"), path)


def test_incomplete_hugging_face_attention_is_named(tmp_path: Path, pair: Any) -> None:
    state = {name: tensor.contiguous() for name, tensor in pair.reference.state_dict().items()}
    del state["detr_encoder.layers.0.self_attn.k_proj.weight"]
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"transformer\.encoder\.layers\.0\.self_attn\.in_proj_weight"):
        load_detector_checkpoint(build_network("sam3_toy"), path)


def test_absent_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        build_detector("sam3_toy", tmp_path / "nowhere.pt")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        build_detector("sam3_toy", broken)


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"sam9.*sam3, sam3_nano, sam3_toy"):
        build_detector("sam9")
    with pytest.raises(ValueError, match="not valid"):
        build_detector("sam3_toy", overrides=["model.no_such_knob=1"])
