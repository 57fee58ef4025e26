"""Files of weights as people have them: shards, wrapped and prefixed dictionaries, other models, and no checkpoints."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sam_core import CheckpointError, build_tracker
from sam_core.build import build_model, known_models
from sam_core.checkpoints import __main__ as conversion
from sam_core.checkpoints import files, read_state_dict, write
from sam_core.checkpoints.identify import origin_of
from sam_core.sam3 import build_detector

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "b.weight": torch.full((4,), 0.5)}
OTHERS = {name: tensor + 1 for name, tensor in WEIGHTS.items()}


def assert_weights(state: dict[str, Tensor]) -> None:
    assert state.keys() == WEIGHTS.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in WEIGHTS.items())


def write_shards(folder: Path) -> Path:
    """Write the weights as Hugging Face's `save_pretrained` does when they are large; return the index."""
    shards = {
        "model-00001-of-00002.safetensors": ["a.weight"],
        "model-00002-of-00002.safetensors": ["a.bias", "b.weight"],
    }
    folder.mkdir(exist_ok=True)
    for shard, names in shards.items():
        save_file({name: WEIGHTS[name] for name in names}, folder / shard)
    index = folder / "model.safetensors.index.json"
    names = {name: shard for shard, names in shards.items() for name in names}
    index.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": names}))
    (folder / "config.json").write_text("{}")
    return index


def prefixed(prefix: str, state: dict[str, Tensor] = WEIGHTS) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def test_shards_are_loaded_by_folder_and_by_index(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = write_shards(tmp_path / "sam")
    with caplog.at_level(logging.INFO, "sam_core"):
        assert_weights(read_state_dict(tmp_path / "sam"))
    assert caplog.text.count("has the SHA-256") == 2
    assert_weights(read_state_dict(index))


def test_a_folder_with_one_file_of_weights_is_that_file(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert_weights(read_state_dict(tmp_path))
    torch.save(OTHERS, tmp_path / "training_args.bin")
    assert_weights(read_state_dict(tmp_path))


def spoil(index: Path, change: Callable[[dict[str, str]], Any]) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda i: next(i.parent.glob("*-00002-*")).unlink(),
            r"names the shard model-00002-of-00002.safetensors, which",
        ),
        (lambda i: i.write_text("{"), "is not an index of shards: JSONDecodeError"),
        (lambda i: i.write_text("[]"), "is not an index of shards: TypeError"),
        (lambda i: i.write_text('{"weight_map": {"a": 3}}'), "is not an index of shards: TypeError"),
        (lambda i: spoil(i, lambda m: m.update(c=m["a.bias"])), r"lacks 1 tensors that .* says it has \(c\)"),
        (lambda i: spoil(i, lambda m: m.update(c="../x.safetensors")), "is not the name of a file beside it"),
    ],
    ids=["missing shard", "no JSON", "a list", "no name", "missing tensor", "a path"],
)
def test_damaged_shards_are_refused(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(write_shards(tmp_path))
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"model": WEIGHTS, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, ""),
        ({"state_dict": WEIGHTS, "pytorch-lightning_version": "2.5"}, ""),
        ({"state_dict": prefixed("model.")}, "the prefix 'model.' was taken off"),
        (prefixed("module."), "the prefix 'module.' was taken off"),
        ({"model": prefixed("module._orig_mod.")}, "the prefix 'module._orig_mod.' was taken off"),
        (prefixed("module.") | {"n_averaged": torch.tensor(7)}, "the prefix 'module.' was taken off"),
        ({"model": OTHERS, "model_ema": WEIGHTS}, "those under 'model_ema', not those under 'model'"),
        ({"state_dict": OTHERS, "ema": {"module": WEIGHTS, "decay": 0.999}}, "'ema', not those under 'state_dict'"),
        ({"ema": WEIGHTS}, "those under 'ema'"),
    ],
    ids=[
        "trainer",
        "lightning",
        "lightning prefix",
        "data parallel",
        "compiled",
        "averaged model",
        "ema",
        "nested",
        "alone",
    ],
)
def test_wrapped_weights_are_loaded_and_it_says_so(
    tmp_path: Path, content: dict[str, Any], note: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(content, tmp_path / "trained.pt")
    assert_weights(read_state_dict(tmp_path / "trained.pt"))
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert bool(told) == bool(note)
    assert note in "".join(told)


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    mixed = WEIGHTS | {"model.c": torch.zeros(1)}
    save_file(mixed, tmp_path / "mixed.safetensors")
    assert read_state_dict(tmp_path / "mixed.safetensors").keys() == mixed.keys()


def two_of_them(path: Path) -> None:
    path.mkdir()
    save_file(WEIGHTS, path / "one.safetensors")
    save_file(WEIGHTS, path / "two.safetensors")


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an empty folder": (Path.mkdir, "is a folder without a file of weights"),
    "two files": (
        two_of_them,
        r"several files of weights: name one of them, such as one\.safetensors, two\.safetensors",
    ),
    "a text": (lambda p: p.write_text("weights, please\n"), "is a text file, not a checkpoint"),
    "a web page": (lambda p: p.write_text("\n<!DOCTYPE html><html>"), "is a web page"),
    "a Git LFS pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid 1"), "git lfs pull"),
    "nothing": (Path.touch, "is empty"),
    "a picture": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(600)), "neither safetensors nor"),
    "a list": (lambda p: torch.save([1, 2], p), "holds no state dict but a list"),
    "counters": (lambda p: torch.save({"epoch": 3, "best": 0.7}, p), r"found epoch \(int\), best \(float\)"),
    "no tensors": (lambda p: torch.save({"model": {}}, p), r"found model \(dict\)"),
    "a trainer's file": (
        lambda p: torch.save({"model": WEIGHTS, "args": argparse.Namespace(lr=1), "path": Path("x")}, p),
        r"holds other objects beside tensors \(argparse\.Namespace, pathlib\.\w*Path\)",
    ),
    "an old trainer's file": (
        lambda p: torch.save({"model": WEIGHTS, "args": argparse.Namespace()}, p, _use_new_zipfile_serialization=False),
        r"holds other objects beside tensors \(argparse\.Namespace\)",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_what_is_no_checkpoint_is_refused_with_its_kind(tmp_path: Path, what: str) -> None:
    write, message = FILES[what]
    path = tmp_path / "some.pt"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state_dict(path)
    assert "some.pt" in str(caught.value)
    assert "weights_only" not in str(caught.value), "PyTorch's advice to load unsafely is not repeated"
    assert "add_safe_globals" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(WEIGHTS, tmp_path / "locked.safetensors")

    def denied(_: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "sha256", denied)
    with pytest.raises(CheckpointError, match=r"locked\.safetensors cannot be read: Permission denied\."):
        read_state_dict(tmp_path / "locked.safetensors")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "named.pt")
    assert_weights(read_state_dict(tmp_path / "named.pt"))
    torch.save(WEIGHTS, tmp_path / "weights.bin", _use_new_zipfile_serialization=False)
    assert_weights(read_state_dict(tmp_path / "weights.bin"))


def test_an_old_pytorch_reads_safetensors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two holes of its unpickler let a crafted file run code; the sentence says what to do."""
    torch.save(WEIGHTS, tmp_path / "meta.pt")
    save_file(WEIGHTS, tmp_path / "meta.safetensors")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu130")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(
        CheckpointError, match=r"PyTorch 2\.9\.1.*convert it to safetensors.*or update PyTorch to 2\.10"
    ):
        read_state_dict(tmp_path / "meta.pt")
    assert_weights(read_state_dict(tmp_path / "meta.safetensors"))


@pytest.mark.parametrize(
    ("version", "known"), [("2.10.0", (2, 10)), ("2.5.0a0+872d972e41.nv24.08", (2, 5)), ("3.0.0.dev20270101", (3, 0))]
)
def test_versions_of_pytorch_are_understood(
    version: str, known: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert files._torch_version() == known


def test_a_checkpoint_is_converted_to_safetensors(tmp_path: Path) -> None:
    shared = torch.arange(8.0)
    tensors = {"one": shared, "half": shared[:4], "turned": shared.view(2, 4).t()}
    torch.save({"model": prefixed("module.", tensors)}, tmp_path / "in.pt")
    command = [sys.executable, "-m", "sam_core.checkpoints", str(tmp_path / "in.pt")]
    done = subprocess.run([*command, str(tmp_path / "out.safetensors")], capture_output=True, text=True, check=True)
    assert "3 tensors" in done.stdout
    assert "the prefix 'module.' was taken off" in done.stderr
    converted = load_file(tmp_path / "out.safetensors")
    assert torch.equal(converted["turned"], shared.view(2, 4).t())
    assert torch.equal(converted["half"], shared[:4])


# --- which model a file is of -----------------------------------------------------------------------------------------


def test_every_model_is_told_from_the_others_by_names_and_shapes() -> None:
    for name, tensors in known_models():
        assert origin_of(tensors, "asked", known_models) == f"is of {name}"


def test_the_file_of_another_model_is_named(tmp_path: Path) -> None:
    small = {name: tensor.half() for name, tensor in build_model("sam2.1_hiera_small").state_dict().items()}
    save_file(small, tmp_path / "weights.safetensors")
    with pytest.raises(
        CheckpointError, match=r"^weights\.safetensors does not fit sam2\.1_micro: the file is of sam2\.1_hiera_small; "
    ):
        build_tracker("sam2.1_micro", checkpoint=tmp_path / "weights.safetensors", device="cpu")


def test_a_file_for_other_sizes_of_the_same_model_says_so(tmp_path: Path) -> None:
    save_file(build_model("sam2.1_micro").state_dict(), tmp_path / "micro.safetensors")
    with pytest.raises(CheckpointError, match=r"the file is of sam2\.1_micro as it is configured without overrides"):
        build_tracker("sam2.1_micro", tmp_path / "micro.safetensors", "cpu", overrides=["model.d_model=64"])


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("detector.backbone.vision_backbone.trunk.pos_embed", "SAM 3"),
        ("detector_model.vision_encoder.backbone.embeddings.position_embeddings", "SAM 3"),
        ("image_encoder.blocks.0.attn.rel_pos_h", "SAM 1"),
    ],
)
def test_other_families_are_named(tmp_path: Path, name: str, family: str) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"does not fit sam2.1_micro: the file is of a {family} model; "):
        build_tracker("sam2.1_micro", tmp_path / "other.safetensors", "cpu")


def test_shards_and_wrapped_weights_reach_tracker_and_detector(tmp_path: Path) -> None:
    state = build_model("sam2.1_micro").state_dict()
    torch.save({"model_ema": prefixed("module.", state)}, tmp_path / "ema.pt")
    loaded = build_tracker("sam2.1_micro", tmp_path / "ema.pt", "cpu", "float32").model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())

    detector = {name: tensor.contiguous() for name, tensor in build_detector("sam3_toy").network.state_dict().items()}
    half = len(detector) // 2
    shards = {"one.safetensors": list(detector)[:half], "two.safetensors": list(detector)[half:]}
    for shard, names in shards.items():
        save_file({name: detector[name] for name in names}, tmp_path / shard)
    names = {name: shard for shard, names in shards.items() for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    network = build_detector("sam3_toy", tmp_path, device="cpu", dtype="float32").network
    assert all(torch.equal(tensor, detector[name]) for name, tensor in network.state_dict().items())


# --- what is written --------------------------------------------------------------------------------------------------


def convert(monkeypatch: pytest.MonkeyPatch, source: Path, target: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["checkpoints", str(source), str(target)])
    conversion.main()


def test_a_conversion_that_is_interrupted_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "in.pt", tmp_path / "out" / "out.safetensors"
    torch.save(WEIGHTS, source)
    target.parent.mkdir()
    target.write_bytes(b"before")

    def half(_: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "save_file", half)
        with pytest.raises(KeyboardInterrupt):
            convert(patch, source, target)
    assert target.read_bytes() == b"before"
    convert(monkeypatch, source, target)
    assert_weights(load_file(target))
    assert [path.name for path in target.parent.iterdir()] == [target.name], "nothing else is left"


@pytest.mark.parametrize("place", ["missing/out.safetensors", "folder.safetensors", "file/out.safetensors"])
def test_a_target_that_cannot_be_written_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    torch.save(WEIGHTS, tmp_path / "in.pt")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("a file")
    with pytest.raises(SystemExit) as end:
        convert(monkeypatch, tmp_path / "in.pt", tmp_path / place)
    assert end.value.code == 1
    assert f"{tmp_path / place} cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors", "in.pt"]
