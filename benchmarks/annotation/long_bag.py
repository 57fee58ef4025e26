"""A long recording: is the result right, does memory stay flat, what is spent beside the model?"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.annotation.command import track
from benchmarks.annotation.recording import RATE, scene_frames, write_prompts, write_scene
from benchmarks.annotation.truth import agreement

__all__ = ["measure"]

OBJECTS = (1, 2)  # the ball, which is hidden once in a loop, and the star


def measure(folder: Path, minutes: float, model: Sequence[str]) -> list[str]:
    """Track a bag of a minute, and one of so many minutes; return the rows of a table."""
    frames = scene_frames()
    prompts = write_prompts(folder / "prompts.yaml", frames[0].labels, OBJECTS)
    rows = ["| images | seconds | of these beside the model | peak memory | objects: J, hidden frames known | report |"]
    rows.append("|---|---|---|---|---|---|")
    for name, count in (("minute", round(60 * RATE)), ("long", round(60 * minutes * RATE))):
        bag = write_scene(folder / name, frames, count)
        run = folder / f"{name}_run"
        outputs = ("--write", "coco", "csv", "sheet", "report")
        cost = track([bag, "-o", run, "--prompts", prompts, *outputs, *model], folder / f"{name}.log")
        (done,) = (run / "passes").glob("*/done.json")
        share = 1 - json.loads(done.read_text())["model"] / cost.seconds
        found = agreement(run, lambda frame: frames[frame % len(frames)].labels, OBJECTS, count)
        objects = "; ".join(f"{one.j:.3f}, {one.absence:.2f}" for one in found)
        report = "right" if _report_is_right(run, count, [one.seen for one in found]) else "WRONG"
        rows.append(f"| {count:,} | {cost.seconds:.0f} | {share:.1%} | {cost.peak:.0f} MiB | {objects} | {report} |")
        for file in bag.iterdir():
            file.unlink()
    return rows


def _report_is_right(run: Path, count: int, seen: Sequence[int]) -> bool:
    """Tell whether the report has the numbers of images, objects and frames that the labels have."""
    text = (run / "report" / "report.md").read_text()
    facts = f"{count} images over {(count - 1) / RATE:.1f} s, {count} of them usable; {len(seen)} objects; 0 problems."
    told = [int(number) for number in re.findall(rf"\| (\d+) of {count} frames", text)]
    return facts in text and told == list(seen)
