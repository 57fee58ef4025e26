"""Bytes of live tensors while concepts are tracked on every frame and objects come and go.

python -m benchmarks.concepts.flatness --frames 3000 --first 500
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.reference.weights import make_lively
from benchmarks.speed.memory import held
from sam_core import Tracker, build_tracker
from sam_core.association import LIVE, ConceptDetections, ConceptTracker, FollowedConcept
from sam_core.streaming import Frame

RULES = replace(LIVE, hot_start=6, hot_start_unmatched=3, hot_start_duplicate=3, recondition_every=4, leave_after=5)


@dataclass(frozen=True)
class Coming:
    """What a run came to.

    Attributes:
        bytes_first: Live tensors after the first frames.
        bytes_last: Live tensors at the end.
        born: Objects that began.
        removed: Objects that ended.
    """

    bytes_first: int
    bytes_last: int
    born: int
    removed: int


def _detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[ConceptDetections]:
    """Find a square that wanders, and on every third frame a second one; what is tracked confirms neither for long."""
    for number, phrase in enumerate(phrases):
        logits = torch.full((2, 32, 32), -5.0)
        place = (frame.number // 4 + 12 * number) % 24
        logits[0, place : place + 8, 4:12] = 5.0
        logits[1, place : place + 8, 20:28] = 5.0
        count = 2 if frame.number % 3 == 0 else 1
        yield ConceptDetections(phrase, torch.tensor([0.9, 0.8])[:count], logits[:count])


def run(tracker: Tracker, frames: int, first: int) -> Coming:
    """Track two concepts on every frame.

    Args:
        tracker: With masks of 32 x 32 places.
        frames: How many.
        first: After how many the bytes are taken for the first time.
    """
    concepts = ConceptTracker(tracker.open_stream(max_objects=4, history_frames=8, reconditioning=True), RULES)
    asked = [FollowedConcept(phrase, rules=RULES) for phrase in ("cup", "plate")]
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    born = removed = bytes_first = 0
    for number in range(frames):
        result = concepts.step(images[number % len(images)], number, concepts=asked, detect=_detect)
        born += len(result.born)
        removed += len(result.removed)
        del result  # it has as many masks as there happen to be objects
        if number + 1 == first:
            bytes_first = _settled(concepts)
    return Coming(bytes_first, _settled(concepts), born, removed)


def _settled(concepts: ConceptTracker) -> int:
    """Return the live bytes without the masks of the objects that the history happens to hold."""
    tensors = held(torch.device("cpu")).tensors
    known = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for frame in concepts.stream.history.frames
        for one in frame.objects.values()
        for tensor in (one.low_res, one.shown, one.pointer)
    }
    return tensors - sum(known.values())


def main() -> None:
    """Print the bytes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concepts.flatness", description=__doc__)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--first", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tracker = build_tracker("sam2.1_micro", device="cpu", dtype="float32")
    make_lively(tracker.model)
    coming = run(tracker, arguments.frames, arguments.first)
    print(f"bytes of live tensors at frame {arguments.first}: {coming.bytes_first:,}")
    print(f"bytes of live tensors at frame {arguments.frames}: {coming.bytes_last:,}")
    print(f"objects that began {coming.born:,}, that ended {coming.removed:,}")


if __name__ == "__main__":
    main()
