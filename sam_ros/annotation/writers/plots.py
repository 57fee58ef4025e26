"""Draw tracks over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sam_ros.annotation.findings import BINS, TrackObserver
from sam_ros.annotation.sources import FrameSource
from sam_ros.conversions.colours import colour_of

__all__ = ["plot_tracks"]

_MOST = 20  # objects that are drawn


def plot_tracks(
    observer: TrackObserver, labels: Mapping[int, str], source: FrameSource, folder: Path
) -> tuple[str, ...]:
    """Draw when objects are seen, their scores and their areas; return the names of the pictures.

    Nothing is drawn where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ()
    shown = sorted(observer.tracks.items())[:_MOST]
    if not shown:
        return ()
    count = min(BINS, observer.frames)
    first = int(source.index.stamps[0])
    middles = (np.arange(count) * observer.frames) // count
    seconds = (source.index.stamps[middles] - first) / 1e9

    def figure(height: float) -> tuple[Any, Any]:
        drawn = Figure(figsize=(10, height))
        FigureCanvasAgg(drawn)
        axes = drawn.add_subplot()
        axes.set_xlabel("time (s)")
        return drawn, axes

    tracks, axes = figure(1 + 0.3 * len(shown))
    for row, (object_id, track) in enumerate(shown):
        seen = track.counts[:count] > 0
        axes.scatter(seconds[seen], np.full(int(seen.sum()), row), marker="|", s=60, color=_colour(object_id))
    names = [f"{object_id} {labels.get(object_id, '')}".strip().replace("$", r"\$") for object_id, _ in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    figures = {"seen": tracks}
    for name, title in (("scores", "predicted IoU x presence"), ("areas", "area (px)")):
        drawn, axes = figure(3)
        axes.set_ylabel(title)
        for (object_id, track), called in zip(shown, names, strict=True):
            values = getattr(track, name)[:count] / np.where(track.counts[:count] > 0, track.counts[:count], np.nan)
            axes.plot(seconds, values, color=_colour(object_id), label=called, linewidth=1)
        axes.legend(fontsize="x-small", ncols=4)
        figures[name] = drawn
    for name, drawn in figures.items():
        drawn.savefig(folder / f"{name}.png", bbox_inches="tight", dpi=80, metadata={"Software": None})
    return tuple(figures)


def _colour(object_id: int) -> tuple[float, float, float]:
    blue, green, red = colour_of(object_id)
    return red / 255, green / 255, blue / 255
