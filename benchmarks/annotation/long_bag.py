"""A long recording: is the result right, does memory stay flat, what is spent beside the model?"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.annotation.command import Cost, track
from benchmarks.annotation.recording import RATE, scene_frames, write_jpegs, write_prompts
from benchmarks.annotation.truth import agreement

__all__ = ["measure"]

_OBJECTS = (1, 2)  # the ball, which is hidden once in a loop, and the star
_COLUMNS = ("images", "tracked", "seconds", "of these beside the model", "peak memory", "J", "hidden known", "report")
_OUTPUTS = ("coco", "csv", "sheet", "report")


def measure(folder: Path, minutes: float, tracked: float, model: Sequence[str], at_most: float) -> list[str]:
    """Track a bag of a minute, and one of so many minutes; return the rows of a table.

    Args:
        folder: Where bags and runs go.
        minutes: Length of the long bag.
        tracked: Minutes, the last ones of either, in which objects are tracked; earlier images are read and written.
        model: Arguments of `sam-annotate` that name the model.
        at_most: Seconds after which a run is stopped; the same call goes on there.
    """
    frames, ends = scene_frames(), time.monotonic() + at_most
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for name, length in (("minute", 1.0), ("long", minutes)):
        count = round(60 * length * RATE)
        first = count - round(60 * min(tracked, length) * RATE)
        bag, run, prompts = folder / name, folder / f"{name}_run", folder / f"{name}.yaml"
        if not bag.exists():
            write_jpegs(bag, frames, count)
        write_prompts(prompts, frames[first % len(frames)].labels, _OBJECTS, first)
        request = [bag, "-o", run, "--prompts", prompts, "--direction", "forward", "--write", *_OUTPUTS, *model]
        cost = _tracked(request, folder / f"{name}.json", ends - time.monotonic())
        if not cost.finished:
            return [f"{name} was stopped after {at_most:.0f} s: the same command goes on"]
        (done,) = (run / "passes").glob("*/done.json")
        beside = 1 - json.loads(done.read_text())["model"] / cost.seconds
        judged = agreement(run, lambda frame: frames[frame % len(frames)].labels, _OBJECTS, range(first, count))
        js = ", ".join(f"{one.j:.3f}" for one in judged)
        hidden = ", ".join(f"{one.absence:.2f}" for one in judged)
        report = "right" if _report_is_right(run, count, first, [one.seen for one in judged]) else "WRONG"
        cells = (f"{count:,}", f"{count - first:,}", f"{cost.seconds:.0f}", f"{beside:.1%}", f"{cost.peak:.0f} MiB")
        rows.append(f"| {' | '.join((*cells, js, hidden, report))} |")
    return rows


def _tracked(request: Sequence[object], known: Path, at_most: float) -> Cost:
    """Track for so many seconds, unless that is done; return what it has taken so far, kept in a file."""
    costs = [Cost(**one) for one in json.loads(known.read_text())] if known.exists() else []
    if not costs or not costs[-1].finished:
        costs.append(track(request, known.with_suffix(".log"), max(1.0, at_most)))
        known.write_text(json.dumps([vars(one) for one in costs]))
    return Cost(sum(one.seconds for one in costs), max(one.peak for one in costs), costs[-1].finished)


def _report_is_right(run: Path, count: int, first: int, seen: Sequence[int]) -> bool:
    """Tell whether the report has the numbers of images, objects and frames that the labels have."""
    text = (run / "report" / "report.md").read_text()
    facts = f"{count} images over {(count - 1) / RATE:.1f} s, {count} of them usable; {len(seen)} objects; 0 problems."
    told = [int(number) for number in re.findall(rf"\| (\d+) of {count - first} frames", text)]
    return facts in text and told == list(seen)
