"""The table of all models, and its place in a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.models.catalogue import CATALOGUE, Entry, Kind

__all__ = ["BEGIN", "END", "put_into", "table"]

BEGIN = "<!-- begin: python -m benchmarks.models -->"
END = "<!-- end -->"

_HEADINGS = (
    ("model", "px", "parameters, M", "weights, MiB", "peak, MiB", "a frame, s", "over tiny at 1024 px"),
    ("model", "prompts", "for", "licence of the weights"),
)
_UNIT = "sam2.1_hiera_tiny"  # row with which the times are compared


def table(figures: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Return the tables of what was measured and of what each model is for.

    Args:
        figures: of `measure`, or at least of `sizes`, by key.
        facts: of the machine.
    """
    unit = figures.get(_UNIT, {}).get("ms")
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    lines = [f"Machine: {described}.", ""]
    lines += [*_head(_HEADINGS[0]), *(_figures_row(entry, figures, unit) for entry in CATALOGUE), ""]
    lines += [*_head(_HEADINGS[1]), *(_purpose_row(entry) for entry in CATALOGUE)]
    return "\n".join(lines)


def put_into(page: str, text: str) -> str:
    """Replace what a page has between the marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page has no lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _head(headings: tuple[str, ...]) -> list[str]:
    return ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]


def _figures_row(entry: Entry, figures: Mapping[str, Mapping[str, Any]], unit: float | None) -> str:
    if entry.as_in is not None:
        return f"| `{entry.key}` | as `{entry.as_in}` | | | | | |"
    found = figures[entry.key]
    sizes = f"`{entry.key}` | {found['px']} | {found['parameters'] / 1e6:.1f} | {found['weights']:,.0f}"
    peak, ms = found.get("peak"), found.get("ms")
    cells = ["–" if peak is None else f"{peak:,.0f}", "–" if ms is None else _seconds(ms / 1000)]
    if entry.kind is Kind.TRACK and ms is not None and unit is not None:
        cells.append(f"{ms / unit:.2f}")
    else:
        cells.append("–")
    return f"| {sizes} | {' | '.join(cells)} |"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _purpose_row(entry: Entry) -> str:
    return f"| `{entry.key}` | {entry.prompts} | {entry.purpose} | {entry.licence} |"
