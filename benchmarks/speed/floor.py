"""The floor of a frame's time: counted FLOPs and bytes over the measured rates of the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.speed.contender import Contender, make_contender
from benchmarks.speed.report import Section
from benchmarks.speed.timing import Breakdown, Meter, interleave, settle, tell
from benchmarks.speed.work import SETTLED, Work, boxes, frames
from sam_core.sam2 import Sam2

__all__ = ["count_flops", "floor", "needed_bytes", "rates"]

SIZE = (640, 480)  # px of the camera
SQUARE = 2048  # side of the matrices of the GEMM that is timed
COPIED = 256 * 2**20  # bytes of the copy that is timed: far more than any cache


def floor(
    works: Sequence[Work],
    counts: Sequence[int],
    kind: str,
    meter: Meter,
    *,
    rounds: int,
    settled: int = SETTLED,
) -> Section:
    """Compare our frame with its floor, whole and by parts.

    Args:
        works: The models.
        counts: Numbers of objects.
        kind: ``ours`` or ``ours-bf16``.
        meter: The clock, and where to run.
        rounds: Turns whose median is the time of the whole frame.
        settled: Frames before the measurement.
    """
    section = Section(
        f"floor {kind}" if kind != "ours" else "floor",
        "Distance to the floor: FLOPs over the GEMM rate or bytes over the copy rate, whichever takes longer",
        {"model": "model", "px": "px", "objects": "objects", "part": "part", "gflop": "GFLOP", "mb": "MB"}
        | {"floor": "floor, ms", "ms": "measured, ms", "times": "measured / floor"},
    )
    for work in works:
        ours = make_contender(kind, work, meter.device)
        dtype = next(ours.parts["encoder"].parameters()).dtype
        flops_rate, bytes_rate = rates(meter, dtype)
        section.notes[:] = [
            f"{ours.name}; delivered: {flops_rate / 1e9:.0f} GFLOP/s in a product of two {SQUARE} × {SQUARE} matrices, "
            f"{bytes_rate / 1e9:.1f} GB/s read and written in a copy of {COPIED // 2**20} MiB."
        ]
        for count in counts:
            tell(f"{work.model}, {count} object{'s' * (count > 1)}: floor")
            images, where = frames(*SIZE), boxes(count, *SIZE)
            settle(ours, images, where, settled)
            tell("timing")
            whole = interleave([ours], images, meter=meter, rounds=rounds).milliseconds(ours.name)
            if meter.device.type == "cuda":
                settle(ours, images, where, settled, in_parts=True)
            parts = Breakdown(ours.parts, meter).of(ours, images[:8])
            tell("timed")
            flops = count_flops(ours, images[0])
            memory = needed_bytes(work.build(), count, dtype.itemsize)
            for part in (*ours.parts, "frame"):
                least = max(flops[part] / flops_rate, memory.get(part, 0) / bytes_rate)
                measured = whole if part == "frame" else parts[part]
                section.rows.append(
                    {
                        "model": work.model,
                        "px": work.image_size,
                        "objects": count,
                        "part": part,
                        "gflop": flops[part] / 1e9,
                        "mb": memory[part] / 1e6 if part in memory else None,
                        "floor": 1000 * least,
                        "ms": measured,
                        "times": measured / (1000 * least) if least else None,
                    }
                )
            ours.end()
    return section


def count_flops(contender: Contender, image: NDArray[np.uint8]) -> dict[str, int]:
    """Count the floating-point operations of a frame, of each part and (``frame``) as a whole."""
    counts: dict[str, int] = dict.fromkeys(contender.parts, 0)
    entered: list[int] = []
    with ExitStack() as hooks, FlopCounterMode(display=False, custom_mapping=_UNLISTED) as counter:

        def watch(name: str, module: nn.Module) -> None:
            def enter(*_: object) -> None:
                entered.append(counter.get_total_flops())

            def leave(*_: object) -> None:
                counts[name] += counter.get_total_flops() - entered.pop()

            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave).remove)

        for name, module in contender.parts.items():
            watch(name, module)
        contender.step(image)
        return {**counts, "frame": counter.get_total_flops()}


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    count: int = sdpa_flop_count(query, key, value)
    return count


def _linear_flops(x: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return 2 * math.prod(out_shape) * int(x[-1])


# The CPU's kernels are missing from PyTorch's list.
_UNLISTED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.mkldnn._linear_pointwise: _linear_flops,
}


def needed_bytes(model: Sam2, objects: int, element: int) -> dict[str, int]:
    """Return the bytes that a frame must move at least, if all intermediate results stayed in registers.

    All weights once; of each object its spatial memories and pointers, read once and one of each written; the image
    and the features once.

    Args:
        model: For its sizes.
        objects: How many are tracked.
        element: Bytes of a weight.
    """

    def weights(*modules: nn.Module) -> int:
        return element * sum(p.numel() for module in modules for p in module.parameters())

    side = model.feature_size
    spatial = 2 * model.memory_dim * side * side  # bfloat16
    bank = objects * (model.num_memories * spatial + model.max_object_pointers * model.d_model * element)
    features = element * sum(torch.Size(shape).numel() for shape in model.feature_shapes())
    masks = objects * 4 * model.mask_size**2
    parts = {
        "encoder": weights(model.image_encoder) + 3 * model.image_size**2 * element + features,
        "memory attention": weights(model.memory_attention) + bank,
        "decoder": weights(model.sam_mask_decoder) + features + masks,
        "memory encoder": weights(model.memory_encoder) + masks + objects * spatial,
    }
    return {**parts, "frame": sum(parts.values())}


def rates(meter: Meter, dtype: torch.dtype) -> tuple[float, float]:
    """Measure the machine with the current number of threads: FLOP/s of a large GEMM, bytes/s of a copy."""
    device = meter.device
    side = SQUARE if device.type == "cpu" else 4 * SQUARE
    left = torch.randn(side, side, device=device).to(dtype)
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = _best(lambda: left @ left, meter)
    copy = _best(lambda: target.copy_(source), meter)
    return 2 * side**3 / product, 2 * COPIED / copy


def _best(work: Callable[[], object], meter: Meter, turns: int = 7) -> float:
    """Return the shortest of several turns in s."""
    times = []
    for _ in range(turns):
        begin = meter.read()
        work()
        times.append(meter.read() - begin)
    return min(times)
