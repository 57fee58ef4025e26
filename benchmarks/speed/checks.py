"""Correctness on this device: each check compares with a reference and reports what it found."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.clips import make_benchmark_clip
from benchmarks.quality.metrics import average
from benchmarks.quality.run import track
from benchmarks.speed.memory import held
from benchmarks.speed.timing import Meter, tell
from benchmarks.speed.work import Work, boxes, frames
from sam_core import Prompt
from sam_core.backends.cpu import optimise_for_cpu
from sam_core.sam3 import build_detector
from sam_core.streaming import Stream, Tracker
from sam_ros.runtime.cuda_stream import own_stream

__all__ = ["CHECKS", "Finding", "check_all"]

SIZE = (640, 480)  # px of the camera
MODEL = "sam2_nano"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        what: What was compared.
        value: The figure.
        limit: It must not be above this.
    """

    what: str
    value: float
    limit: float

    @property
    def good(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def check_all(device: torch.device, *, quick: bool, names: Sequence[str] | None = None) -> dict[str, Finding | str]:
    """Run every check; a check that raises reports the error, and the others still run."""
    found: dict[str, Finding | str] = {}
    for name, check in CHECKS.items():
        if names is not None and name not in names:
            continue
        tell(f"check: {name}")
        try:
            found[name] = check(device, quick)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
        tell(f"  {found[name]}")
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def same_as_cpu(device: torch.device, quick: bool) -> Finding:
    """Float32 on the device against float32 on the CPU, frame by frame."""
    places = (device, torch.device("cpu"))
    with torch.backends.cudnn.flags(allow_tf32=False):  # products of matrices have it off already
        logits = [_logits(_tracker(place, torch.float32), 8 if quick else 30) for place in places]
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*logits, strict=True))
    return Finding("float32 on the device against the CPU: relative error of the mask logits, worst frame", worst, 1e-3)


def graphs_same_as_eager(device: torch.device, quick: bool) -> Finding:
    """Recorded CUDA graphs against launching each kernel: float32, frame by frame."""
    tracker, count = _tracker(device, torch.float32), 6 if quick else 30
    logits = [_logits(tracker, count, cuda_graphs=recorded) for recorded in (True, False)]
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*logits, strict=True))
    return Finding("CUDA graphs against eager launches: relative error of the mask logits, worst frame", worst, 1e-4)


def same_quality_in_bfloat16(device: torch.device, quick: bool) -> Finding:
    """J of bfloat16 against float32 on clips of the quality benchmark."""
    clips = [make_benchmark_clip("clear", seed, 12 if quick else 60) for seed in range(1 if quick else 6)]
    means = []
    for dtype in (torch.float32, torch.bfloat16):
        tracker = _tracker(device, dtype)
        figures = [figure for seed, clip in enumerate(clips) for figure in track(tracker, clip, "box", seed)[0]]
        means.append(average(figures)["j"])
    return Finding(f"J in bfloat16 below J in float32 ({means[0]:.3f})", means[0] - means[1], 0.01)


def flat_memory(device: torch.device, quick: bool) -> Finding:
    """Bytes held at the end of a stream, in which objects come and go, less those once the history is full."""
    early, late = (40, 60) if quick else (200, 2_000)
    images, where = frames(*SIZE), boxes(4, *SIZE)
    stream = _tracker(device, None).open_stream(max_objects=4, cuda_graphs=True)
    bytes_held = []
    for i in range(late + 1):
        stream.step(images[i % len(images)], i)
        if i % 10 == 0:  # the same number of objects at both readings
            if len(stream.objects) == 4:
                stream.remove(stream.objects[0].object_id)
            while len(stream.objects) < 4:
                stream.add_prompt(Prompt(box=where[len(stream.objects)]))
        if i in (early, late):
            now = held(device)
            bytes_held.append(now.device if device.type == "cuda" else now.tensors)
    return Finding(f"bytes at frame {late:,} less those at frame {early}", bytes_held[1] - bytes_held[0], 0)


def gives_memory_back(device: torch.device, quick: bool) -> Finding:
    """Bytes still held once tracker and stream are gone, less those before."""

    def bytes_now() -> int:
        if device.type == "cuda":  # cuBLAS keeps a workspace for every stream that it was ever used in
            torch._C._cuda_clearCublasWorkspaces()
        now = held(device)
        return now.device if device.type == "cuda" else now.tensors

    _logits(_tracker(device, None), 3)  # what libraries keep for good
    gc.collect()
    before = bytes_now()
    tracker = _tracker(device, None)
    _logits(tracker, 4 if quick else 40)
    del tracker
    gc.collect()
    return Finding("bytes held after the end less those before the beginning", max(0, bytes_now() - before), 0)


def detector_beside_tracking(device: torch.device, quick: bool) -> Finding:
    """Masks of a stream while a detector works in a CUDA stream of its own, against those without it."""
    images, where = frames(*SIZE), boxes(3, *SIZE)
    tracker = _tracker(device, None)
    detector = build_detector("sam3_toy", device=device)
    # before the detector works, as in the node
    streams = [tracker.open_stream(max_objects=3, cuda_graphs=True) for _ in range(2)]
    done = threading.Event()

    def search() -> None:
        with own_stream(device, priority=0):
            while not done.is_set():
                detector.detect(detector.encode_image(images[0]), ["red ball"], threshold=0.0)

    def tracked(stream: Stream) -> list[Tensor]:
        with own_stream(device, priority=-1):
            stream.step(images[0])
            for box in where:
                stream.add_prompt(Prompt(box=box))
            masks = [stream.step(images[i % len(images)]).masks for i in range(1, 8 if quick else 60)]
            Meter(device).read()  # waits
            return masks

    alone = tracked(streams[0])
    thread = threading.Thread(target=search)
    thread.start()
    try:
        beside = tracked(streams[1])
    finally:
        done.set()
        thread.join()
    differing = sum(int((a != b).sum()) for a, b in zip(alone, beside, strict=True))
    return Finding("pixels that differ beside a detector", differing, 0)


CHECKS: dict[str, Callable[[torch.device, bool], Finding]] = {
    "same as the CPU": same_as_cpu,
    "CUDA graphs": graphs_same_as_eager,
    "bfloat16": same_quality_in_bfloat16,
    "flat memory": flat_memory,
    "memory given back": gives_memory_back,
    "detector beside tracking": detector_beside_tracking,
}


def _tracker(device: torch.device, dtype: torch.dtype | None) -> Tracker:
    """Build the small tracker with its shipped weights; in the device's usual dtype where None."""
    kind = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    model = Work(MODEL).build().to(device=device, dtype=kind)
    return Tracker(optimise_for_cpu(model) if device.type == "cpu" else model, name=MODEL)


def _logits(tracker: Tracker, count: int, *, cuda_graphs: bool = True) -> list[Tensor]:
    """Track three objects; returns the mask logits (3, H, W) of each frame on the CPU."""
    images, where = frames(*SIZE), boxes(3, *SIZE)
    stream = tracker.open_stream(max_objects=3, cuda_graphs=cuda_graphs)
    stream.step(images[0])
    for box in where:
        stream.add_prompt(Prompt(box=box))
    return [stream.step(np.ascontiguousarray(images[i % len(images)])).mask_logits.cpu() for i in range(1, count)]
