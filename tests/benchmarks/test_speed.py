"""The speed benchmark's commands on a tiny model: they run, peers compute what we compute, and the JSON is sane."""

from __future__ import annotations

import json
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.reference.peers import MissingPeerError
from benchmarks.speed import __main__ as speed
from benchmarks.speed import gpu_check, growth
from benchmarks.speed.checks import Finding, check_all
from benchmarks.speed.contender import make_contender
from benchmarks.speed.floor import count_flops, needed_bytes
from benchmarks.speed.timing import Meter, Timings, interleave, settle
from benchmarks.speed.work import QUICK, Work, boxes, frames

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _keep_threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def figures(output: Path) -> dict[str, Any]:
    """Read what a run wrote."""
    found: dict[str, Any] = json.loads((output / "speed.json").read_text())
    assert (output / "speed.md").read_text().startswith("processor ")
    return found


@pytest.mark.parametrize("peer", ["sam2", "transformers"])
def test_a_peer_tracks_the_same_objects_on_the_same_weights(peer: str) -> None:
    pytest.importorskip(peer)
    images, where = frames(count=6), boxes(2, 640, 480)
    masks = [settle(make_contender(kind, QUICK, CPU), images, where, 6) for kind in ("ours", peer)]
    assert masks[0].shape == masks[1].shape == (2, 480, 640)
    assert 0.001 < masks[0].float().mean() < 0.999
    assert (masks[0] == masks[1]).float().mean() > 0.999


def test_the_nano_model_s_weights_fit_both_peers() -> None:
    for module in ("sam2", "transformers"):
        pytest.importorskip(module)
    work = Work("sam2_nano")
    images, where = frames(count=3), boxes(1, 640, 480)
    ours, *peers = [
        settle(make_contender(kind, work, CPU), images, where, 3) for kind in ("ours", "sam2", "transformers")
    ]
    assert work.weights == "shipped"
    assert all((ours == masks).float().mean() > 0.999 for masks in peers)


def test_frames_and_objects(tmp_path: Path) -> None:
    what = ["--what", "frame", "objects", "--quick", "--device", "cpu", "--contenders", "ours", "ours-bf16", "sam2-vos"]
    assert speed.main([*what, "--output", str(tmp_path)]) == 0
    sections = figures(tmp_path)["sections"]
    rows = sections["frame"]["rows"]
    assert [(row["kind"], row["objects"]) for row in rows] == [
        ("ours", 1),
        ("ours-bf16", 1),
        ("ours", 2),
        ("ours-bf16", 2),
    ]
    for row in rows:
        parts = [row[name] for name in ("before", "encoder", "memory attention", "decoder", "memory encoder", "rest")]
        assert min(parts) > 0
        assert len(row["all ms"]) == 2
    assert rows[0]["same"] == 1.0
    assert any("sam2-vos takes no part" in note for note in sections["frame"]["notes"])
    assert [row["objects"] for row in sections["objects"]["rows"]] == [1, 1, 2, 2]


def test_models_take_turns_and_are_compared_with_the_first(tmp_path: Path) -> None:
    models = ["sam2.1_micro", "edgetam_micro", "sam2.1_micro:64"]
    what = ["--what", "models", "--models", *models, "--rounds", "2", "--settled", "3", "--device", "cpu"]
    assert speed.main([*what, "--output", str(tmp_path)]) == 0
    rows = figures(tmp_path)["sections"]["models"]["rows"]
    assert [(row["model"], row["px"]) for row in rows] == [
        ("sam2.1_micro", 128),
        ("edgetam_micro", 128),
        ("sam2.1_micro", 64),
    ]
    assert rows[0]["over first"] == 1.0
    first = rows[0]["all ms"]
    for row in rows:
        assert len(row["all ms"]) == 2
        assert row["over first"] == pytest.approx(sum(a / b for a, b in zip(row["all ms"], first, strict=True)) / 2)


def test_growth_in_a_process_of_its_own(tmp_path: Path) -> None:
    options = ["--contender", "ours", "--model", QUICK.model, "--frames", "12", "--json", str(tmp_path / "growth.json")]
    assert growth.main([*options, "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "growth.json").read_text())
    assert [row["frame"] for row in found["rows"]] == [12]
    assert found["rows"][0]["tensors"] > 1_000_000
    assert found["stopped"] == ""


def test_growth_stops_at_its_bound() -> None:
    options = growth.parse(["--model", QUICK.model, "--frames", "1000", "--gigabytes", "0.001", "--device", "cpu"])
    found = growth.run(options)
    assert found["stopped"] == "stopped at frame 50: it held more than 0.001 GB"


def test_detection_and_floor(tmp_path: Path) -> None:
    what = ["--what", "detect", "floor", "--quick", "--device", "cpu", "--contenders", "ours", "--objects", "1"]
    assert speed.main([*what, "--output", str(tmp_path)]) == 0
    sections = figures(tmp_path)["sections"]
    assert {row["phrases"] for row in sections["detect"]["rows"]} == {1, 4}
    parts = {row["part"]: row for row in sections["floor"]["rows"]}
    assert parts["frame"]["gflop"] >= sum(parts[name]["gflop"] for name in ("encoder", "decoder")) > 0
    assert all(row["floor"] > 0 for row in parts.values())


def test_flops_are_those_of_a_count_by_hand() -> None:
    """The memory attention's cross-attention and projections grow with the objects, the encoder does not."""
    ours, images = make_contender("ours", QUICK, CPU), frames(count=4)
    counts = []
    for objects in (1, 2):
        settle(ours, images, boxes(objects, 640, 480), 4)
        counts.append(count_flops(ours, images[0]))
    assert counts[0]["encoder"] == counts[1]["encoder"]
    for part in ("memory attention", "decoder", "memory encoder"):  # but for what all objects share
        assert 1.5 * counts[0][part] < counts[1][part] <= 2 * counts[0][part]
    embedding = 2 * 7 * 7 * 3 * 16 * 32 * 32  # the trunk's first convolution: 7 × 7 × 3 → 16 channels on 32 × 32 places
    assert counts[0]["encoder"] > embedding
    model = QUICK.build()
    weights = 4 * sum(p.numel() for p in model.image_encoder.parameters())
    assert weights < needed_bytes(model, 1, 4)["encoder"] < weights + 10**6


def test_the_compiled_peer_is_for_a_gpu() -> None:
    pytest.importorskip("sam2")
    with pytest.raises(MissingPeerError, match="CUDA"):
        make_contender("sam2-vos", QUICK, CPU)


def test_turns_are_whole_periods_of_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every third frame a memory is made, so that single frames would not be typical; the peers see as many."""
    strided = Work(QUICK.model, (*QUICK.overrides, "+memory_policy=strided"))
    own, plain = make_contender("ours-own", strided, CPU), make_contender("ours", QUICK, CPU)
    assert (own.period, plain.period) == (3, 1)
    assert own.name.startswith("ours as it comes: ")
    assert own.name.endswith(", strided")
    images, counts = frames(count=4), dict.fromkeys(("own", "plain"), 0)
    for name, contender in (("own", own), ("plain", plain)):
        settle(contender, images, boxes(1, 640, 480), 2)

        def step(frame: Any, name: str = name, step: Any = contender.step) -> torch.Tensor:
            counts[name] += 1
            masks: torch.Tensor = step(frame)
            return masks

        monkeypatch.setattr(contender, "step", step)
    interleave([own, plain], images, meter=Meter(CPU), rounds=2, seconds=1e-6)
    assert counts == {"own": 1 + 2 * 3, "plain": 1 + 2 * 3}


def test_ratios_are_those_of_a_round() -> None:
    timings = Timings({"a": [1.0, 10.0, 2.0], "b": [2.0, 20.0, 1.0]})
    assert timings.ratio("a", "b") == 0.5
    assert timings.milliseconds("a") == 2000.0


@pytest.mark.slow
def test_a_check_that_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.speed import checks

    def broken(device: torch.device, quick: bool) -> Finding:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(checks, "CHECKS", {"broken": broken, "flat memory": checks.CHECKS["flat memory"]})
    found = check_all(CPU, quick=True)
    assert found["broken"] == "RuntimeError: no such kernel"
    flat = found["flat memory"]
    assert isinstance(flat, Finding)
    assert flat.value == 0
    assert flat.good


def test_the_gpu_script_writes_what_it_has_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {
        "transfer": lambda left: [gpu_check.transfer(Meter(CPU))],
        "never": lambda left: pytest.fail("there was no time"),
    }
    monkeypatch.setattr(gpu_check, "stages", lambda *_: stages)
    monkeypatch.setattr(gpu_check.time, "monotonic", chain([0.0, 0.0, 30.0], repeat(58.0)).__next__)
    assert gpu_check.main(["--device", "cpu", "--minutes", "1", "--output", str(tmp_path)]) == 0
    assert "the time was over" in capsys.readouterr().out
    rows = figures(tmp_path)["sections"]["transfer"]["rows"]
    assert {row["what"] for row in rows} >= {"image 640 × 480 up", "16 masks 1920 × 1080 down"}
    assert all(row["rate"] > 0 for row in rows)
