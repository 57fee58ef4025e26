"""A long recording in parts, joined, against the same one in one go: are ids the same, and masks as good?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.annotation.command import track
from benchmarks.annotation.recording import RATE, box_of, write_bag
from sam_core.synthetic import TwinScene
from sam_ros.annotation.records import decode_mask
from sam_ros.annotation.results import Results

__all__ = ["measure"]

_SHOWN = (3, 5)  # triangle and star: prompted
_MEANT = (1, 2)  # the red circles: found by words
_FEW = 120  # px: with fewer visible pixels a frame does not count

Ids = list[dict[int, int]]  # of each frame: from a number in the truth to the id of the object that it is


def measure(folder: Path, seconds: float, parts: int, model: Sequence[str]) -> list[str]:
    """Track the scene of the twins both ways, two objects by boxes and two by words; return the rows of a table."""
    scene = TwinScene(fps=RATE)
    labels = [scene.render(k).labels for k in range(min(scene.length, round(seconds * RATE)))]
    bag = write_bag(folder / "bag", (scene.render(k).image for k in range(len(labels))))
    prompts = {
        "objects": [
            {"label": scene.object_names[k - 1], "prompts": [{"frame": 0, "box": box_of(labels[0] == k)}]}
            for k in _SHOWN
        ],
        "concepts": [{"phrase": "red circle", "every": 10}],
    }
    (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts), encoding="utf-8")
    request = [bag, "--prompts", folder / "prompts.yaml", "--write", "csv", *model]
    found: dict[str, tuple[Ids, dict[int, float]]] = {}
    for name, more in (("unbroken", ()), (f"{parts} parts", ("--parts", parts))):
        run = folder / name.replace(" ", "_")
        track([*request, "-o", run, *more], folder / "log")
        found[name] = _judged(run, labels)
    cuts = [len(labels) * k // parts for k in range(1, parts)]
    hidden = {k for k in (*_SHOWN, *_MEANT) if any((labels[cut] == k).sum() < _FEW for cut in cuts)}
    (whole, js), (joined, others) = found.values()
    rows = ["| object | hidden at a cut | J unbroken | J joined | frames with another id |", "|---|---|---|---|---|"]
    for k in (*_SHOWN, *_MEANT):
        differ = sum(one[k] != other[k] for one, other in zip(whole, joined, strict=True) if k in one and k in other)
        name, told = scene.object_names[k - 1], "yes" if k in hidden else "no"
        rows.append(f"| {name} | {told} | {js[k]:.3f} | {others[k]:.3f} | {differ} of {len(labels)} |")
    return rows


def _judged(run: Path, labels: Sequence[NDArray[np.uint8]]) -> tuple[Ids, dict[int, float]]:
    """Return which object is which on each frame, by an IoU above one half, and each one's J by its usual id."""
    ids: Ids = []
    ious: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in Results.of_run(run).read():
        known: dict[int, int] = {}
        for k in (*_SHOWN, *_MEANT):
            real = labels[record.frame] == k
            if real.sum() < _FEW:
                continue
            for one in record.objects:
                mask = decode_mask(one.mask, record.size) > 0
                iou = float((mask & real).sum() / (mask | real).sum())
                ious[k][one.object_id].append(iou)
                if iou > 0.5:
                    known[k] = one.object_id
        ids.append(known)
    js = {}
    for k in (*_SHOWN, *_MEANT):
        usual = Counter(known[k] for known in ids if k in known).most_common(1)
        visible = sum((one == k).sum() >= _FEW for one in labels)
        js[k] = sum(ious[k][usual[0][0]]) / visible if usual else 0.0
    return ids, js
