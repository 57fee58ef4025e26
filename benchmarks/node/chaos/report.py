"""The report of a run: one line an event."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.node.chaos.outcome import Outcome

_HEAD = """# Chaos: {events} events in {seconds:.0f} s

`python -m benchmarks.node.soak --chaos`: camera and tracker are processes of their own, with `sam2.1_micro` and the
detector `sam3_toy`. Images are counted up to that of an event's last result. Every event happens twice to one process.

{verdict}

| s | event | what was seen | published | results | dropped, by cause | unaccounted | memory, MiB | wrong |
|---|---|---|---|---|---|---|---|---|
"""


def write(path: Path, outcomes: Sequence[Outcome], growth: float, seconds: float, may_grow: float) -> None:
    """Write what was seen as Markdown."""
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    published, results = (sum(getattr(o, name) for o in outcomes) for name in ("published", "results"))
    drops = sum(sum(o.drops.values()) for o in outcomes)
    verdict = (
        f"{wrong} events went wrong. {published} images = {results} results + {drops} counted as dropped + "
        f"{published - results - drops} unaccounted for. In the second round of events "
        f"the tracker's memory grew by {growth:.0f} MiB (allowed are {may_grow:.0f})."
    )
    text = _HEAD.format(events=len(outcomes), seconds=seconds, verdict=verdict)
    path.write_text(text + "".join(_row(outcome) for outcome in outcomes))


def _row(o: Outcome) -> str:
    drops = ", ".join(f"{count} {cause}" for cause, count in o.drops.items())
    cells = [f"{o.began:.0f}", o.name, o.seen, o.published, o.results, drops, o.unaccounted, f"{o.memory:.0f}"]
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in [*cells, "; ".join(o.wrong)]) + " |\n"
