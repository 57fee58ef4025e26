"""The room of the reference implementations: what parity is measured with, and that nothing imports the tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from benchmarks.reference.errors import relative_error
from benchmarks.reference.peers import MissingPeerError, required
from benchmarks.reference.weights import make_lively
from sam_core.build import build_model

ROOT = Path(__file__).resolve().parents[2]


def imported(path: Path) -> set[str]:
    """Return the names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


def test_the_tests_are_imported_by_nothing_else() -> None:
    files = [
        path for folder in ("sam_core", "sam_ros", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    users = [path for path in files if any(name.split(".")[0] in ("tests", "conftest") for name in imported(path))]
    assert users == []


def test_the_relative_error_is_of_the_largest_magnitude() -> None:
    reference = torch.tensor([[1.0, -4.0]])
    assert relative_error(torch.tensor([[1.0, -3.0]]), reference) == 0.25
    assert relative_error(reference, reference) == 0.0
    with pytest.raises(ValueError, match="shapes"):
        relative_error(torch.ones(2), reference)
    with pytest.raises(ValueError, match="finite"):
        relative_error(torch.ones(1), torch.tensor([float("nan")]))


def test_a_missing_peer_is_named() -> None:
    with pytest.raises(MissingPeerError, match="no_such_peer is not installed"):
        required("no_such_peer.model")


def test_lively_weights_leave_no_parameter_constant_and_are_the_same_again() -> None:
    torch.manual_seed(0)
    model = build_model("sam2.1_micro")
    make_lively(model)
    presence = model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    assert presence.item() == 5.0
    assert [n for n, p in model.named_parameters() if p.numel() > 1 and p.std() == 0] == []
    torch.manual_seed(0)
    again = build_model("sam2.1_micro")
    make_lively(again)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
