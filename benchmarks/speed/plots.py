"""Plots of a run: time against the number of objects, time and memory against the age of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.report import Section

__all__ = ["draw"]

_SIZE = (6.4, 3.6)  # inches


def draw(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Draw what can be drawn of the sections; returns the files. Nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    drawn = []
    for section in sections:
        if section.name == "objects" and section.rows:
            drawn.append(_lines(section, "objects", "ms", "objects", "ms a frame", folder / "objects.png"))
        if section.name == "growth" and section.rows:
            drawn.append(_lines(section, "frame", "resident MB", "frame", "resident memory, MB", folder / "growth.png"))
    return drawn


def _lines(section: Section, x: str, y: str, x_label: str, y_label: str, path: Path) -> Path:
    """Draw one line for each contender, both axes logarithmic."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    by_contender: dict[str, list[dict[str, Any]]] = {}
    for row in section.rows:
        by_contender.setdefault(row["contender"], []).append(row)
    for name, rows in by_contender.items():
        axes.plot([row[x] for row in rows], [row[y] for row in rows], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label, title=section.title)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
