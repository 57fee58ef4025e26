"""Small line plots as SVG, made of numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["line_plot", "polyline"]

WIDTH, HEIGHT = 300, 64


def polyline(values: Sequence[float], width: float, height: float, top: float) -> str:
    """Return the `points` of a polyline: the values over `width`, where 0 is at the bottom and `top` at the height."""
    if len(values) < 2:
        return ""
    step = width / (len(values) - 1)
    return " ".join(
        f"{i * step:.1f},{height - 1 - (height - 2) * min(max(value / top, 0.0), 1.0):.1f}"
        for i, value in enumerate(values)
        if math.isfinite(value)
    )


def line_plot(series: Sequence[Sequence[float]], colours: Sequence[str], name: str) -> str:
    """Return a plot of one or more series over the same time.

    Args:
        series: Values from old to new; what is not finite is left out.
        colours: CSS colours of the series.
        name: What the plot shows, for those who do not see it: a constant of this program.
    """
    finite = [value for values in series for value in values if math.isfinite(value)]
    top = _round_up(max(finite, default=1.0))
    lines = "".join(
        f'<polyline points="{polyline(values, WIDTH, HEIGHT, top)}" fill="none" stroke="{colour}" stroke-width="1.6" '
        'vector-effect="non-scaling-stroke" stroke-linejoin="round"/>'
        for values, colour in zip(series, colours, strict=True)
    )
    grid = "".join(
        f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" class="sam-grid"/>' for y in (1, HEIGHT // 2, HEIGHT - 1)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" class="sam-plot" role="img" '
        f'aria-label="{name}, at most {top:g}">{grid}{lines}</svg><span class="sam-top">{top:g}</span>'
    )


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ... above a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)
