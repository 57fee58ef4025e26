"""Follow a phrase through a scene with this version of the library, or with one that still had `TrackHistory`.

A script of its own, so that `benchmarks.concepts.tracks` can run it with another `sam_core` in the path. Detections are
made on every n-th frame and handed over some frames later, as the detector's thread does; or in the frame's own step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam_core import association, build_tracker
from sam_core.sam3 import build_detector
from sam_core.streaming import CroppedMask, Frame, Stream
from sam_core.synthetic import TwinScene

PHRASE = "the red circle"

Find = Callable[[Frame], list[Any]]


def finder(detector: Any, least: float) -> Find:
    """Return a function that gives the instances of the phrase on a frame."""

    def find(frame: Frame) -> list[Any]:
        (found,) = detector.detect(detector.encode_image(frame.picture), [PHRASE], threshold=least)
        masks = [CroppedMask.of(mask) for mask in found.masks.cpu().numpy()]
        return [
            association.Instance(PHRASE, score, mask) for score, mask in zip(found.scores.tolist(), masks, strict=True)
        ]

    return find


def follow_earlier(stream: Stream, score: float) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Return step and hand-over of versions before the rules of SAM 3."""
    tracks = association.TrackHistory()  # type: ignore[attr-defined]
    rules = association.MatchRules(new_score=score)  # type: ignore[attr-defined]

    def step(image: NDArray[np.uint8], number: int) -> Any:
        result = stream.step(image, number)
        tracks.observe(stream)
        return result

    def take(frame: Frame, found: list[Any]) -> None:
        for instance in sorted(found, key=lambda one: -one.score):
            association.track_instance(stream, tracks, frame, instance, rules)  # type: ignore[attr-defined]

    return step, take


def follow_now(stream: Stream, score: float) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Return step and hand-over of this version."""
    from dataclasses import replace

    concepts = association.ConceptTracker(stream)
    rules = replace(association.LIVE, score_threshold=score, new_score=score)

    def step(image: NDArray[np.uint8], number: int) -> Any:
        return concepts.step(image, number).result

    def take(frame: Frame, found: list[Any]) -> None:
        association.hand_over(lambda call: call(concepts), frame, PHRASE, found, rules, counted=True)

    return step, take


def main() -> None:
    """Write what is tracked on each frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--score", type=float, default=0.5, help="from which a detection starts an object")
    parser.add_argument("--every", type=int, default=4, help="frames from one detection to the next")
    parser.add_argument("--late", type=int, default=2, help="frames until a detection is handed over")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    find = finder(build_detector("sam3_nano", device="cpu"), arguments.score)
    earlier = hasattr(association, "TrackHistory")
    settings: dict[str, Any] = {} if earlier else {"reconditioning": True}
    stream = build_tracker("sam2_nano", device="cpu").open_stream(max_objects=8, **settings)
    stream.keep_pictures = True
    step, take = (follow_earlier if earlier else follow_now)(stream, arguments.score)
    scene = TwinScene(width=320, height=240, seed=arguments.seed, fps=arguments.fps)
    waiting: list[tuple[int, Frame, list[Any]]] = []
    tracked: dict[str, NDArray[Any]] = {}
    for number in range(scene.length):
        result = step(scene.render(number).image, number)
        tracked[f"ids{number}"] = np.array(result.object_ids)
        masks = result.masks.cpu().numpy().reshape(len(result), scene.height * scene.width)
        tracked[f"masks{number}"] = np.packbits(masks, axis=1)
        frame = stream.history.newest
        assert frame is not None
        if number % arguments.every == 0:
            waiting.append((number + arguments.late, frame, find(frame)))
        while waiting and waiting[0][0] <= number:
            take(*waiting.pop(0)[1:])
    np.savez_compressed(arguments.output, frames=scene.length, **tracked)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
