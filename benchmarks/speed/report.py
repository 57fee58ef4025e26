"""Report of a run: tables in Markdown, all values as JSON, plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

__all__ = ["Section", "machine", "write"]


@dataclass
class Section:
    """One table.

    Attributes:
        name: The section's name on the command line.
        title: Heading.
        columns: Keys of the rows that the table shows, and their headings.
        rows: Values by column, and what else the JSON should hold.
        notes: Sentences below the table.
    """

    name: str
    title: str
    columns: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return heading, table and notes."""
        lines = [f"### {self.title}", ""]
        if self.rows:
            lines += ["| " + " | ".join(self.columns.values()) + " |", "|" + "---|" * len(self.columns)]
            lines += ["| " + " | ".join(_cell(row.get(key)) for key in self.columns) + " |" for row in self.rows]
            lines.append("")
        return "\n".join([*lines, *(f"{note}\n" for note in self.notes)])


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine and the software of a measurement."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts["device"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    for name in ("sam2", "transformers"):
        facts[name] = _version(name)
    return facts


def write(sections: Sequence[Section], facts: dict[str, Any], folder: Path) -> str:
    """Write `speed.md`, `speed.json` and the plots into a folder; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    text = "\n".join([f"{described}\n", *(section.markdown() for section in sections)])
    (folder / "speed.md").write_text(text)
    figures = {section.name: {"rows": section.rows, "notes": section.notes} for section in sections}
    (folder / "speed.json").write_text(json.dumps({"machine": facts, "sections": figures}, indent=1) + "\n")
    return text


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
