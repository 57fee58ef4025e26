"""Averaging checkpoint files: the mean of each tensor, and a refusal where they are not of one model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_core.errors import CheckpointError
from sam_core.training.soup import average_weights, main


def _file(path: Path, **values: torch.Tensor) -> Path:
    save_file(values, str(path))
    return path


def test_the_mean_is_written_as_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _file(tmp_path / "a.safetensors", w=torch.tensor([1.0, 2.0], dtype=torch.float16), b=torch.zeros(1))
    second = _file(tmp_path / "b.safetensors", w=torch.tensor([2.0, 5.0]), b=torch.tensor([-3.0]))
    mean = average_weights([first, second])
    assert mean["w"].tolist() == [1.5, 3.5]
    assert mean["w"].dtype == torch.float32
    out = tmp_path / "mean.safetensors"
    monkeypatch.setattr(sys, "argv", ["soup", str(out), str(first), str(second)])
    main()
    assert load_file(out)["b"].tolist() == [-1.5]
    assert load_file(out)["w"].dtype == torch.float16


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    first = _file(tmp_path / "a.safetensors", w=torch.zeros(2))
    wider = _file(tmp_path / "b.safetensors", w=torch.zeros(3))
    other_name = _file(tmp_path / "c.safetensors", v=torch.ones(2))
    for other in (wider, other_name):
        with pytest.raises(CheckpointError, match=other.name):
            average_weights([first, other])


def test_a_missing_file_ends_the_command_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soup", str(tmp_path / "mean.safetensors"), str(tmp_path / "missing.pt")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "missing.pt" in capsys.readouterr().err
