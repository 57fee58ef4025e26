"""Time of a frame with a full memory bank, beside the peers, in parts, and against the number of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.reference.peers import MissingPeerError
from benchmarks.speed.contender import Contender, Ours, make_contender
from benchmarks.speed.report import Section
from benchmarks.speed.timing import Breakdown, Meter, interleave, settle, tell
from benchmarks.speed.work import SETTLED, Work, boxes, frames

__all__ = ["against_objects", "contenders_of", "frame_times", "models_in_turns"]

SIZE = (640, 480)  # px of the camera
BREAKDOWN_FRAMES = 3


def frame_times(
    works: Sequence[Work],
    counts: Sequence[int],
    kinds: Sequence[str],
    meter: Meter,
    *,
    rounds: int,
    settled: int = SETTLED,
) -> Section:
    """Measure every contender at every model and number of objects.

    Args:
        works: The models.
        counts: Numbers of objects.
        kinds: The contenders; the first is the one that the others are compared with.
        meter: The clock, and where to run.
        rounds: Turns of each contender.
        settled: Frames before the measurement.
    """
    section = Section(
        "frame",
        f"Time of a frame ({SIZE[0]} × {SIZE[1]} px camera, full memory bank)",
        {"model": "model", "px": "px", "objects": "objects", "contender": "contender", "ms": "ms"}
        | {f"over {kind}": f"over {kind}" for kind in kinds if kind in ("sam2", "sam2-vos", "transformers")}
        | {"same": "same pixels", "before": "before", "encoder": "encoder", "memory attention": "memory attention"}
        | {"decoder": "decoder", "memory encoder": "memory encoder", "rest": "rest"},
    )
    for work in works:
        contenders, section.notes[:] = contenders_of(kinds, work, meter.device)
        for count in counts:
            section.rows += _compare(work, contenders, count, meter, rounds, settled, breakdown=True)
    return section


def against_objects(
    work: Work,
    counts: Sequence[int],
    kinds: Sequence[str],
    meter: Meter,
    *,
    rounds: int,
    settled: int = SETTLED,
) -> Section:
    """Measure every contender against the number of objects."""
    section = Section(
        "objects",
        f"Time of a frame against the number of objects, {work.model}",
        {"objects": "objects", "contender": "contender", "ms": "ms"}
        | {f"over {kind}": f"over {kind}" for kind in kinds if kind in ("sam2", "sam2-vos", "transformers")},
    )
    contenders, section.notes[:] = contenders_of(kinds, work, meter.device)
    for count in counts:
        section.rows += _compare(work, contenders, count, meter, rounds, settled, breakdown=False)
    return section


def models_in_turns(works: Sequence[Work], meter: Meter, *, rounds: int, settled: int = SETTLED) -> Section:
    """Measure our models in turns (A B C A B C …), one object each, in float32.

    Args:
        works: The models; the first is the one that the others are compared with.
        meter: The clock, and where to run.
        rounds: Turns of each model.
        settled: Frames before the measurement.
    """
    first = _title(works[0])
    section = Section(
        "models",
        f"Models in turns, one object ({SIZE[0]} × {SIZE[1]} px camera, full memory bank, float32)",
        {"model": "model", "px": "px", "ms": "ms", "over first": f"over {first}"},
    )
    images, where = frames(*SIZE), boxes(1, *SIZE)
    contenders = [Ours(work, meter.device, torch.float32, _title(work)) for work in works]
    for contender in contenders:
        tell(f"{contender.name}: filling its bank")
        settle(contender, images, where, settled)
    tell("models: timing")
    timings = interleave(contenders, images[settled % len(images) :], meter=meter, rounds=rounds)
    tell("models: timed")
    for work, contender in zip(works, contenders, strict=True):
        seconds = timings.seconds[contender.name]
        row = {"model": work.model, "px": work.image_size, "ms": timings.milliseconds(contender.name)}
        section.rows.append(
            row | {"over first": timings.ratio(contender.name, first), "all ms": [1000 * second for second in seconds]}
        )
        contender.end()
    return section


def _title(work: Work) -> str:
    return f"{work.model}, {work.image_size} px"


def contenders_of(kinds: Sequence[str], work: Work, device: torch.device) -> tuple[dict[str, Contender], list[str]]:
    """Build the contenders that can take part; for the others, return the reason why not."""
    contenders, notes = {}, []
    for kind in kinds:
        try:
            contenders[kind] = make_contender(kind, work, device)
        except MissingPeerError as error:
            notes.append(f"{kind} takes no part: {error}.")
    return contenders, notes


def _compare(
    work: Work,
    contenders: dict[str, Contender],
    count: int,
    meter: Meter,
    rounds: int,
    settled: int,
    *,
    breakdown: bool,
) -> list[dict[str, Any]]:
    """Fill the memory of all contenders with so many objects, time them in turns, and time the parts of a frame."""
    images, where = frames(*SIZE), boxes(count, *SIZE)
    task = f"{work.model}, {count} object{'s' * (count > 1)}"
    tell(f"{task}: filling banks")
    masks = {kind: settle(contender, images, where, settled) for kind, contender in contenders.items()}
    tell(f"{task}: timing")
    ahead = images[settled % len(images) :] + images[: settled % len(images)]
    timings = interleave(list(contenders.values()), ahead, meter=meter, rounds=rounds)
    tell(f"{task}: timed")
    parts: dict[str, dict[str, float]] = {kind: {} for kind in contenders}
    for kind, contender in contenders.items() if breakdown else ():
        if meter.device.type == "cuda":
            settle(contender, images, where, settled, in_parts=True)
        tell(f"{task}, parts of {contender.name}: timing")
        parts[kind] = Breakdown(contender.parts, meter).of(contender, ahead[:BREAKDOWN_FRAMES])
        tell(f"{task}, parts of {contender.name}: timed")
    rows = []
    for kind, contender in contenders.items():
        row: dict[str, Any] = {
            "model": f"{work.model} ({work.weights} weights)",
            "px": work.image_size,
            "objects": count,
            "contender": contender.name,
            "kind": kind,
            "ms": timings.milliseconds(contender.name),
            "same": _agreement(masks[kind], next(iter(masks.values()))),
            "all ms": [1000 * seconds for seconds in timings.seconds[contender.name]],
        }
        for other in contenders:
            if other != kind and not other.startswith("ours") and kind.startswith("ours"):
                row[f"over {other}"] = timings.ratio(contender.name, contenders[other].name)
        rows.append(row | parts[kind])
        contender.end()
        tell(f"  {contender.name}: {row['ms']:.1f} ms")
    return rows


def _agreement(masks: Tensor, others: Tensor) -> float:
    """Return the smallest share of equal pixels over the objects."""
    return float((masks == others).float().mean((1, 2)).min())
