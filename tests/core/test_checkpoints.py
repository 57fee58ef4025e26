"""Loading checkpoints: three layouts that fit, many files that don't."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reference.sam2 import OFFICIAL_CONFIGS
from benchmarks.reference.weights import randomise
from sam_core import CheckpointError, build_tracker
from sam_core.build import build_model, model_names
from sam_core.checkpoints import load_checkpoint
from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2
from sam_core.sam2.hiera import Hiera
from sam_core.training.tracking.settings import load_tracking_settings

MICRO = "sam2.1_micro"
# transformers hard-codes 64 channels of memory in its memory attention.
LIKE_HUGGING_FACE = ("model.d_model=64", "model.memory_encoder.memory_dim=64")
MANIFESTS = Path(__file__).resolve().parents[3] / "shared" / "manifests"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(3)
    model = build_model(MICRO)
    randomise(model)
    return model.state_dict()


def assert_loads(path: Path, weights: dict[str, Tensor]) -> None:
    torch.manual_seed(4)
    tracker = build_tracker(MICRO, checkpoint=path, device="cpu", dtype="float32")
    loaded = tracker.model.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert tracker.checkpoint == path


def test_meta_layout(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save({"model": weights}, tmp_path / "meta.pt")
    assert_loads(tmp_path / "meta.pt", weights)


def test_safetensors(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, tmp_path / "ours.safetensors")
    assert_loads(tmp_path / "ours.safetensors", weights)


def test_half_precision_file(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_file({name: tensor.half() for name, tensor in weights.items()}, tmp_path / "half.safetensors")
    half = {name: tensor.half().float() for name, tensor in weights.items()}
    assert_loads(tmp_path / "half.safetensors", half)


def hugging_face_model() -> Any:
    """Build `transformers`' video model in the sizes of our test model, with random weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 16,
                "num_attention_heads": 1,
                "image_size": [128, 128],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8],
                "window_size_per_stage": [8, 4, 4, 2],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 64,
        },
        prompt_encoder_config={"hidden_size": 64, "image_size": 128},
        mask_decoder_config={
            "hidden_size": 64,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
        image_size=128,
        memory_attention_hidden_size=64,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=64,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=64,
        memory_fuser_embed_dim=64,
        memory_fuser_intermediate_dim=256,
        enable_temporal_pos_encoding_for_object_pointers=True,
        enable_occlusion_spatial_embedding=True,
    )
    torch.manual_seed(5)
    model = transformers.Sam2VideoModel(config).eval()
    randomise(model)
    return model


def save_hugging_face(model: Any, path: Path, drop_tied: bool) -> dict[str, Tensor]:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if drop_tied:
        del state["shared_image_embedding.positional_embedding"]
    save_file(state, path)
    return state


@pytest.mark.parametrize("drop_tied", [False, True])
def test_hugging_face_layout(tmp_path: Path, drop_tied: bool) -> None:
    state = save_hugging_face(hugging_face_model(), tmp_path / "model.safetensors", drop_tied)
    tracker = build_tracker(MICRO, tmp_path / "model.safetensors", "cpu", "float32", LIKE_HUGGING_FACE)
    loaded = tracker.model.state_dict()
    renamed = rename_hugging_face_sam2(state)
    assert renamed.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in renamed.items())


def test_hugging_face_weights_compute_the_same(tmp_path: Path) -> None:
    """Not only the shapes fit: their image encoder and memory attention give the numbers that ours give."""
    theirs = hugging_face_model()
    save_hugging_face(theirs, tmp_path / "model.safetensors", drop_tied=False)
    ours = build_tracker(MICRO, tmp_path / "model.safetensors", "cpu", "float32", LIKE_HUGGING_FACE).model
    image = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        features = ours.encode_image(image)
        reference = theirs.vision_encoder(image).fpn_hidden_states
        memory = ours.assemble_memory(
            torch.randn(1, 3, 64, 8, 8), torch.tensor([[0, 5, 6]]), torch.randn(1, 2, 64), torch.tensor([[3, 1]])
        )
        conditioned = theirs.memory_attention(
            current_vision_features=features.embedding.flatten(2).permute(2, 0, 1),
            current_vision_position_embeddings=features.position.flatten(2).permute(2, 0, 1),
            memory=memory.tokens.transpose(0, 1),
            memory_posision_embeddings=memory.position.transpose(0, 1),
            num_object_pointer_tokens=memory.num_unplaced_tokens,
        )
        mine = ours.embed_with_memory(features, memory)
    coarse = min(reference, key=Tensor.numel)
    torch.testing.assert_close(features.embedding, coarse, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.flatten(2)[0].t(), conditioned.reshape(64, 64), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not MANIFESTS.is_dir(), reason="the official checkpoints' key lists are not at hand")
@pytest.mark.parametrize("name", OFFICIAL_CONFIGS)
def test_names_and_shapes_are_the_official_ones(name: str) -> None:
    with torch.device("meta"):
        state = build_model(name).state_dict()
    ours = {key: list(tensor.shape) for key, tensor in state.items()}
    assert ours == json.loads((MANIFESTS / f"{name}.json").read_text())
    listed = json.loads((MANIFESTS / f"hf_{name}.json").read_text())
    renamed = rename_hugging_face_sam2({key: torch.empty(shape, device="meta") for key, shape in listed.items()})
    assert {key: list(tensor.shape) for key, tensor in renamed.items()} == ours


def test_eight_models_and_ours_are_known() -> None:
    assert set(OFFICIAL_CONFIGS) <= set(model_names())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w | {"surprise": torch.zeros(1)}, r"1 are unknown to the model \(surprise\)"),
        (lambda w: {k: v for k, v in w.items() if k != "no_obj_ptr"}, r"1 of \d+ tensors are missing \(no_obj_ptr\)"),
        (lambda w: w | {"no_obj_ptr": torch.zeros(1, 64)}, r"no_obj_ptr is \(1, 64\) in the file and \(1, 32\)"),
        (
            lambda w: {k: v for k, v in w.items() if "obj_ptr_tpos_proj" not in k and k != "no_obj_embed_spatial"},
            r"missing \(no_obj_embed_spatial, obj_ptr_tpos_proj.weight, obj_ptr_tpos_proj.bias\)",
        ),
        (lambda w: {f"student.{k}": v for k, v in w.items()}, "tensors are missing .* are unknown"),
    ],
    ids=["unknown name", "missing name", "other shape", "SAM 2.0 into 2.1", "prefixed"],
)
def test_what_does_not_fit_is_named(tmp_path: Path, weights: dict, damage: object, message: str) -> None:
    torch.save({"model": damage(weights)}, tmp_path / "wrong.pt")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=rf"(?s)^wrong\.pt does not fit {MICRO}: .*{message}"):
        build_tracker(MICRO, checkpoint=tmp_path / "wrong.pt", device="cpu")


def test_refusal_leaves_the_model_untouched(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    model = build_model(MICRO)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save({"model": weights | {"no_obj_ptr": torch.zeros(1, 64)}}, tmp_path / "wrong.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(model, tmp_path / "wrong.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_files_that_are_no_checkpoints(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save({"model": weights}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    save_file(weights, tmp_path / "whole.safetensors")
    (tmp_path / "truncated.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "empty.pt").touch()
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    torch.save({"model": Path("code")}, tmp_path / "pickle.pt")
    for name in ("truncated.pt", "truncated.safetensors", "text.pt", "empty.pt", "other.pt", "pickle.pt"):
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            build_tracker(MICRO, checkpoint=tmp_path / name, device="cpu")
    with pytest.raises(CheckpointError, match="There is no checkpoint file"):
        build_tracker(MICRO, checkpoint=tmp_path / "nowhere.pt", device="cpu")


def test_arguments_that_make_no_sense() -> None:
    for name in ("sam9", "sam3_nano"):
        with pytest.raises(ValueError, match=rf"no tracker '{name}'; known are .*sam2\.1_hiera_tiny"):
            build_tracker(name)
    with pytest.raises(ValueError, match="is not valid"):
        build_tracker(MICRO, overrides=["model.no_such_knob=1"])
    with pytest.raises(ValueError, match="no dtype for a network"):
        build_tracker(MICRO, device="cpu", dtype="int8")
    with pytest.raises(ValueError, match="no device"):
        build_tracker(MICRO, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees 0 CUDA GPUs"):
            build_tracker(MICRO, device="cuda")


@pytest.mark.parametrize(
    ("windows", "message"),
    [([8, 11, 22, 11], "a window of 11 that is pooled must be a multiple of 2"), ([8, 4], "4 stages need as many")],
)
def test_windows_that_make_no_sense(windows: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hiera(embed_dim=8, num_heads=1, stages=[1, 1, 1, 1], global_att_blocks=[], window_spec=windows)


def test_random_weights_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    build_tracker(MICRO, device="cpu")
    assert "random weights" in caplog.text


@pytest.fixture
def _fresh_hydra() -> Iterator[None]:
    """Put aside what importing `sam2` has set up for the whole process."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    before = Singleton.get_state()
    GlobalHydra.instance().clear()
    yield
    Singleton.set_state(before)


@pytest.mark.usefixtures("_fresh_hydra")
def test_building_inside_another_hydra_program(tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    (tmp_path / "app.yaml").write_text("answer: 42\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert build_model(MICRO).image_size == 128
        assert compose("app").answer == 42
        assert load_tracking_settings("micro").model == MICRO
        assert compose("app").answer == 42


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_checkpoint_with_numbers_that_are_none_is_refused(
    tmp_path: Path, weights: dict[str, Tensor], value: float, suffix: str
) -> None:
    broken = {name: tensor.clone() for name, tensor in weights.items()}
    name = next(name for name, tensor in broken.items() if tensor.ndim == 2)
    broken[name][-1, -1] = value
    path = tmp_path / f"broken.{suffix}"
    save_file(broken, path) if suffix == "safetensors" else torch.save(broken, path)
    with pytest.raises(CheckpointError, match=rf"broken\.\w+ does not fit .*: 1 contain NaN or infinity \({name}\)"):
        build_tracker(MICRO, checkpoint=path, device="cpu")


def test_the_digest_of_a_checkpoint_is_logged(
    tmp_path: Path, weights: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ours.safetensors"
    save_file(weights, path)
    with caplog.at_level("INFO", "sam_core"):
        build_tracker(MICRO, checkpoint=path, device="cpu")
    assert f"ours.safetensors has the SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" in caplog.text
