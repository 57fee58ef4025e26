"""Follow a phrase through a scene with this version of the library, or with one that still had `TrackHistory`.

This version's results are written twice: as they are published at once, and held back (`--held`).

A script of its own, so that `benchmarks.concepts.tracks` can run it with another `sam_core` in the path. Detections are
made on every n-th frame and handed over some frames later, as the detector's thread does; or, with `--in-step`, in the
frame's own step, as the node does where tracker and detector share a trunk.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.concepts.busy_scene import BusyScene
from benchmarks.concepts.noisy_detector import NoisyDetector
from sam_core import CapacityError, PromptError, association, build_tracker
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


def noisy_finder(scene: BusyScene, least: float, seed: int) -> Find:
    """Return a function that makes the instances on a frame from the truth, with a detector's faults."""
    detector = NoisyDetector(scene.meant, scene.clutter, seed)

    def find(frame: Frame) -> list[Any]:
        found = detector.detect(scene.render(frame.number).labels, frame.number, least)
        return [association.Instance(PHRASE, one.score, CroppedMask.of(one.mask)) for one in found]

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
            with suppress(CapacityError, PromptError):  # told to the operator; the others are tracked
                association.track_instance(stream, tracks, frame, instance, rules)  # type: ignore[attr-defined]

    return step, take


def follow_now(
    stream: Stream, least: float, score: float, hold: Callable[[Any, int], None]
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Return step and hand-over of this version; `hold` takes each outcome in, too."""
    concepts = association.ConceptTracker(stream)
    rules = replace(association.LIVE, score_threshold=least, new_score=score)

    def step(image: NDArray[np.uint8], number: int) -> Any:
        outcome = concepts.step(image, number)
        hold(outcome, number)
        return outcome.result

    def take(frame: Frame, found: list[Any]) -> None:
        association.hand_over(lambda call: call(concepts), frame, PHRASE, found, rules, counted=True)

    return step, take


def follow_in_step(
    stream: Stream, least: float, score: float, hold: Callable[[Any, int], None], find: Find, every: int
) -> Callable[..., Any]:
    """Return the step of this version that searches every n-th frame while it is tracked."""
    rules = replace(association.LIVE, score_threshold=least, new_score=score)
    concept = association.FollowedConcept(PHRASE, every_n_frames=every, rules=rules)
    concepts = association.ConceptTracker(stream)

    def detect(frame: Frame, phrases: tuple[str, ...]) -> Iterator[Any]:
        for phrase in phrases:
            yield association.ConceptDetections.of_instances(phrase, find(frame), stream.mask_size, stream.device)

    def step(image: NDArray[np.uint8], number: int) -> Any:
        due = (concept,) if number % every == 0 else ()
        outcome = concepts.step(image, number, concepts=due, detect=detect if due else None)
        if outcome.problems:
            raise RuntimeError("; ".join(outcome.problems))
        hold(outcome, number)
        return outcome.result

    return step


def main() -> None:
    """Write what is tracked on each frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--scene", choices=("twins", "busy"), default="twins")
    parser.add_argument("--detector", choices=("sam3_nano", "noisy"), default="sam3_nano")
    parser.add_argument("--least", type=float, default=0.5, help="above which a detection counts")
    parser.add_argument("--score", type=float, default=0.5, help="from which a detection starts an object")
    parser.add_argument("--held", type=int, default=15, help="frames by which results are held back")
    parser.add_argument("--every", type=int, default=4, help="frames from one detection to the next")
    parser.add_argument("--late", type=int, default=2, help="frames until a detection is handed over")
    parser.add_argument("--in-step", action="store_true", help="search frames in their own step")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scenes = {"twins": TwinScene, "busy": BusyScene}
    scene: Any = scenes[arguments.scene](width=320, height=240, seed=arguments.seed, fps=arguments.fps)
    if arguments.detector == "noisy":
        find = noisy_finder(scene, arguments.least, arguments.seed)
    else:
        find = finder(build_detector("sam3_nano", device="cpu"), arguments.least)
    earlier = hasattr(association, "TrackHistory")
    settings: dict[str, Any] = {} if earlier else {"reconditioning": True}
    stream = build_tracker("sam2_nano", device="cpu").open_stream(max_objects=8, **settings)
    stream.keep_pictures = True
    waiting: list[tuple[int, Frame, list[Any]]] = []
    tracked: dict[str, NDArray[Any]] = {}

    def write(result: Any, number: int, kind: str = "") -> None:
        tracked[f"{kind}ids{number}"] = np.array(result.object_ids)
        masks = result.masks.cpu().numpy().reshape(len(result), scene.height * scene.width)
        tracked[f"{kind}masks{number}"] = np.packbits(masks, axis=1)

    if earlier:
        step, take = follow_earlier(stream, arguments.score)
    else:
        delay: Any = association.Delay(arguments.held + 1)

        def hold(outcome: Any, number: int) -> None:
            ready = delay.push(outcome, number)
            if ready is not None:
                write(ready[0].result, ready[1], "held_")

        step, take = follow_now(stream, arguments.least, arguments.score, hold)
    if arguments.in_step:
        step = follow_in_step(stream, arguments.least, arguments.score, hold, find, arguments.every)
    for number in range(scene.length):
        write(step(scene.render(number).image, number), number)
        frame = stream.history.newest
        assert frame is not None
        if number % arguments.every == 0 and not arguments.in_step:
            waiting.append((number + arguments.late, frame, find(frame)))
        while waiting and waiting[0][0] <= number:
            take(*waiting.pop(0)[1:])
    if not earlier:
        for outcome, number in delay.flush():
            write(outcome.result, number, "held_")
    np.savez_compressed(arguments.output, frames=scene.length, **tracked)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
