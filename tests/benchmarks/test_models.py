"""The table of all models: nothing is missing in it, and what is measured is what the model is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks.models.__main__ import KEYS, main
from benchmarks.models.catalogue import CATALOGUE, FOR_TESTS, Entry, Kind
from benchmarks.models.measure import MIB, measure, sizes
from benchmarks.models.table import BEGIN, END, put_into, table
from sam_core import build_tracker
from sam_core.configuration import config_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
SIZES = {"px": 1024, "parameters": 38_900_000, "weights": 148.6}
ROW = {**SIZES, "ms": 4000.0, "peak": 900.0}


def test_every_model_has_its_rows_in_the_page() -> None:
    assert {entry.model for entry in CATALOGUE} | set(FOR_TESTS) == set(config_names("models"))
    page = PAGE.read_text()
    for entry in CATALOGUE:
        figures, purpose = [line for line in page.splitlines() if line.startswith(f"| `{entry.key}` | ")]
        assert purpose == f"| `{entry.key}` | {entry.prompts} | {entry.purpose} | {entry.licence} |"
        if entry.as_in is not None:
            assert f"as `{entry.as_in}`" in figures
        else:
            assert all(float(cell.replace(",", "")) > 0 for cell in figures.split("|")[2:5])
        if entry.key in ("sam2_nano", "edgetam", "sam3_nano (detector)"):
            of = sizes(entry)
            said = f"| `{entry.key}` | {of['px']} | {of['parameters'] / 1e6:.1f} | {of['weights']:,.0f} | "
            assert figures.startswith(said)


@pytest.mark.parametrize(
    ("model", "kind", "px"),
    [("sam2.1_micro", Kind.TRACK, 128), ("sam_vit_micro", Kind.IMAGE, 96), ("sam3_toy", Kind.DETECT, 112)],
)
def test_what_is_measured(model: str, kind: Kind, px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.models.measure._LEAST_SECONDS", 0.0)
    found = measure(Entry(model, kind, "", "", ""), frames_timed=2)
    assert found["px"] == px
    assert len(found["all ms"]) == 2
    assert min(found["all ms"]) <= found["ms"] <= max(found["all ms"])
    assert found["weights"] == pytest.approx(4 * found["parameters"] / MIB)
    assert found["peak"] is None or math.isfinite(found["peak"])  # above 0 in a process of its own
    if kind is Kind.TRACK:
        assert found["parameters"] == build_tracker(model, device="cpu").num_parameters


def test_the_table_compares_trackers_with_tiny_and_leaves_open_what_is_not_known() -> None:
    known = {entry.key: SIZES for entry in CATALOGUE}
    rows = {"sam2.1_hiera_tiny": ROW, "edgetam": {**ROW, "ms": 900.0, "peak": None}, "sam3 (detector)": ROW}
    text = table({**known, **rows}, {"processor": "P"})
    assert "Machine: processor P." in text
    assert "| `sam2.1_hiera_tiny` | 1024 | 38.9 | 149 | 900 | 4.0 | 1.00 |" in text
    assert "| `edgetam` | 1024 | 38.9 | 149 | – | 0.900 | 0.23 |" in text
    assert "| `sam2_nano` | 1024 | 38.9 | 149 | – | – | – |" in text
    assert "| `sam3 (detector)` | 1024 | 38.9 | 149 | 900 | 4.0 | – |" in text
    assert "| `sam2_hiera_tiny` | as `sam2.1_hiera_tiny` | | | | | |" in text
    assert "| 1.00 |" not in table(known, {})


def test_only_what_lies_between_the_marks_is_replaced() -> None:
    page = put_into(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new")
    assert page == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert put_into(page, "new") == page
    with pytest.raises(ValueError, match="The page has no lines"):
        put_into("text", "new")


def test_no_page_and_another_machine_get_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    options = ["--figures", str(figures), "--output", str(page)]
    assert main(["--models", *options]) == 1
    assert "There is no page" in capsys.readouterr().err
    page.write_text(f"{BEGIN}\n{END}\n")
    figures.write_text(json.dumps({"machine": {"processor": "another"}, "figures": {"sam2_nano": ROW}}))
    assert main(["--models", "sam2_nano", *options]) == 1
    assert "has figures of another machine" in capsys.readouterr().err
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_measured_row_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    for key in ("sam3_nano (detector)", "sam2_nano"):
        assert key in KEYS
        command = ["--models", key, "--frames", "1", "--figures", str(figures), "--output", str(page)]
        assert main(command) == 0
    assert json.loads(figures.read_text())["figures"].keys() == {"sam3_nano (detector)", "sam2_nano"}
    assert "| `sam2_nano` | 288 | 3.4 | 13 |" in page.read_text()
    figures.write_text(json.dumps({"machine": {"processor": "another"}, "figures": {"sam2_nano": ROW}}))
    assert main(["--models", "--figures", str(figures), "--output", str(page)]) == 0
    assert "| `sam2_nano` | 1024 | 38.9 | 149 | 900 | 4.0 | – |" in page.read_text()
    assert "Machine: processor another." in page.read_text()
    torch.set_num_threads(threads)
