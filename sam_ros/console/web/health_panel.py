"""How the tracker is: its report in words, plots over the last minutes, and the newest events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nicegui import ui
from sam_msgs.msg import ObjectEvent

from sam_ros.console.ros.health import Health, Sample
from sam_ros.console.web.plots import line_plot
from sam_ros.conversions.stamps import stamp_of
from sam_ros.runtime.texts import legible

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["HealthPanel"]

SHOWN_EVENTS = 40
LEVEL_ICONS = {"ok": "check_circle", "warn": "warning", "error": "error", "stale": "help"}
LEVEL_COLOURS = {"ok": "positive", "warn": "warning", "error": "negative", "stale": "grey"}
KINDS = {
    ObjectEvent.APPEARED: "appeared",
    ObjectEvent.CONFIRMED: "was confirmed",
    ObjectEvent.OCCLUDED: "is occluded",
    ObjectEvent.LOST: "is lost",
    ObjectEvent.FOUND: "was found again",
    ObjectEvent.MERGED: "was a double of",
    ObjectEvent.REMOVED: "was removed",
}


def _rates(samples: Sequence[Sample]) -> list[list[float]]:
    return [[sample.rate_in for sample in samples], [sample.rate_out for sample in samples]]


PLOTS = (  # name, unit, colours, series
    ("Images in, results out", "Hz", ("var(--sam-soft)", "var(--sam-accent)"), _rates),
    ("Latency", "ms", ("var(--sam-accent)",), lambda samples: [[sample.latency for sample in samples]]),
    ("Dropped images", "a second", ("var(--sam-warm)",), lambda samples: [[sample.dropped for sample in samples]]),
    ("Memory", "MiB", ("var(--sam-accent)",), lambda samples: [[sample.memory for sample in samples]]),
)


class HealthPanel:
    """Build and refresh the health of a tracker.

    Args:
        page: The page that it belongs to.
    """

    def __init__(self, page: ConsolePage) -> None:
        self._page = page
        self._events: tuple[ObjectEvent, ...] = ()
        with ui.column().classes("w-full gap-3 p-3"):
            with ui.row().classes("w-full items-start no-wrap gap-2"):
                self._icon = ui.icon("help").classes("text-xl")
                self._message = ui.label().classes("text-sm grow sam-wrap").props("role=status")
            self._facts = ui.label().classes("sam-sub sam-wrap")
            self._plots = []
            for name, unit, _, _ in PLOTS:
                with ui.column().classes("w-full gap-0"):
                    with ui.row().classes("w-full items-baseline"):
                        ui.label(name).classes("sam-head grow")
                        value = ui.label().classes("sam-value")
                        ui.label(unit).classes("sam-sub")
                    self._plots.append((ui.html("", sanitize=False).classes("w-full sam-plot-box"), value))
            ui.label("Events").classes("sam-head")
            self._list = ui.column().classes("w-full gap-0").props('role=log aria-label="Events"')
            with ui.expansion("All figures").classes("w-full sam-figures"):
                self._figures = ui.column().classes("w-full gap-0")
            self._shown: list[tuple[ui.label, ui.label]] = []

    def refresh(self) -> None:
        """Show the newest report."""
        link = self._page.view.link
        health = link.health if link is not None else Health()
        level = health.level if health.present else "stale"
        self._icon.props(f"name={LEVEL_ICONS[level]} color={LEVEL_COLOURS[level]}")
        self._message.set_text(legible(health.message) if health.present else self._page.absence(health))
        source = link.image_topic if link is not None else ""
        self._facts.set_text(
            " · ".join(part for part in (source and f"images from {source}", legible(health.device)) if part)
        )
        for (plot, value), (name, _, colours, series) in zip(self._plots, PLOTS, strict=True):
            values = series(health.samples)
            newest = values[-1][-1] if values[-1] else float("nan")
            value.set_text(f"{newest:.1f}" if newest == newest else "–")
            plot.set_content(line_plot(values, colours, name))
        self._show_events(link.events if link is not None else ())
        self._show_figures(health)

    def _show_events(self, events: tuple[ObjectEvent, ...]) -> None:
        newest = events[-SHOWN_EVENTS:]
        if newest == self._events:
            return
        self._events = newest
        self._list.clear()
        with self._list:
            for event in reversed(newest):
                what = KINDS.get(event.kind, "changed")
                other = f" {event.other_id}" if event.kind == ObjectEvent.MERGED else ""
                name = f"{event.id} {event.label}".strip()
                reason = f" ({event.reason})" if event.reason else ""
                at = f"{stamp_of(event.header) * 1e-9 % 1000:.1f}"
                ui.label(legible(f"{at}  {name} {what}{other}{reason}")).classes("sam-event")

    def _show_figures(self, health: Health) -> None:
        items = list(health.values.items())
        if len(items) != len(self._shown):
            self._figures.clear()
            with self._figures:
                self._shown = []
                for _ in items:
                    with ui.row().classes("w-full no-wrap gap-2 sam-figure"):
                        self._shown.append((ui.label().classes("grow"), ui.label().classes("text-right sam-wrap")))
        for (key, value), (left, right) in zip(items, self._shown, strict=True):
            left.set_text(legible(key))
            right.set_text(legible(value))
