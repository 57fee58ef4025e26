"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["draw_curve"]


def draw_curve(history: list[dict[str, Any]], path: Path, figures: Mapping[str, str]) -> None:
    """Draw the loss and some figures over training time as PNG.

    Args:
        history: records of a run; the first may be of its start, without a loss.
        path: file to write.
        figures: what to draw beside the loss: keys of the records, and their names in the legend.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    minutes = [r["minutes"] for r in history]
    left.plot(minutes, [r.get("loss", float("nan")) for r in history], ".-", color="tab:blue", label="training loss")
    left.set_ylabel("loss")
    for key, label in figures.items():
        right.plot(minutes, [r.get(key, float("nan")) for r in history], ".-", label=label)
    right.set_ylim(0, 1)
    stages = [r["stage"] for r in history]
    for axis in (left, right):
        for k in range(1, len(history)):
            if stages[k] != stages[k - 1]:
                axis.axvline(minutes[k - 1], color="0.7", linewidth=1, linestyle=":")
        axis.set_xlabel("minutes of training")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path)
