"""The demo: a camera and a tracker as two real ROS 2 processes, prompted through the service.

Prints a live line and leaves an annotated video and a strip of pictures. With --follow it tracks what a phrase names,
and says how that went against the scene's truth.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from sam_ros.processes import Executable, private_domain
from sam_ros.scoreboard import Scoreboard, reunions_in
from sam_ros.sources import SCENES

__all__ = ["main"]

SCENE, FOLLOW_SCENE = SCENES


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, help="how long to track (default: 20; 24 with --follow)")
    parser.add_argument(
        "--source",
        help=f"{' or '.join(SCENES)} (built in, truth known), a video file, a folder of images, or a webcam's number "
        f"(default: {SCENE}; {FOLLOW_SCENE} with --follow)",
    )
    parser.add_argument("--rate", type=float, default=0.0, help="images per second (default: the source's own)")
    parser.add_argument("--model", default="sam2_nano", help="model configuration (default: sam2_nano)")
    parser.add_argument("--checkpoint", default="", help="weights (default: those that the package ships)")
    parser.add_argument("--device", default="", help="torch device (default: cuda where there is one, else cpu)")
    parser.add_argument(
        "--memory-policy",
        default="",
        help="which images enter an object's memory: fifo, as SAM 2 was published, strided: every third one, or "
        "visible: only those that show the object (default: the model's own, strided for sam2_nano)",
    )
    parser.add_argument(
        "--overlaps",
        default="",
        help="pixels that several masks cover: keep, all keep them, as in SAM 2, or look: the object keeps them that "
        "looks like them (default: the model's own, look for sam2_nano)",
    )
    parser.add_argument(
        "--edges",
        default="",
        help="where masks end: keep, the network's coarse masks are stretched, as in SAM 2, or guided: at the edges of "
        "the picture (default: the model's own, guided for sam2_nano)",
    )
    parser.add_argument(
        "--clicks",
        default="",
        help="how clicks that begin an object are answered: keep, from the image as it is, as in SAM 2, or "
        "views: mirrored and from closer up as well (default: the model's own, views for sam2_nano)",
    )
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="Hydra overrides of the model")
    parser.add_argument(
        "--click",
        action="append",
        type=point,
        default=[],
        metavar="X,Y",
        help="a point in px on an object of your own source, repeatable (default: the image's centre)",
    )
    parser.add_argument(
        "--phrase",
        default="blue box",
        help="what to look for by word at the end, without --follow; empty: nothing (default: blue box)",
    )
    parser.add_argument(
        "--follow",
        default="",
        metavar="PHRASE",
        help="follow what a phrase names instead of clicking: found by word, tracked, found again after it was lost",
    )
    parser.add_argument(
        "--score", type=float, default=0.5, help="score above which what is found by word counts (default: 0.5)"
    )
    parser.add_argument("--detector", default="sam3_nano", help="model that looks for it (default: sam3_nano)")
    parser.add_argument("--detector-checkpoint", default="", help="its weights (default: those that the package ships)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for the results")
    options = parser.parse_args(args)
    options.source = options.source or (FOLLOW_SCENE if options.follow else SCENE)
    if options.seconds is None:
        options.seconds = 24.0 if options.follow else 20.0
    return options


def point(text: str) -> tuple[float, float]:
    """Read "x,y"."""
    x, y = map(float, text.split(","))
    return x, y


def run(options: argparse.Namespace) -> int:
    """Run camera, tracker and observer; return the exit code."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from sam_core.build import shipped_weights
    from sam_ros.observer import NoAnswerError, Observer
    from sam_ros.recording import Recording

    options.out.mkdir(parents=True, exist_ok=True)
    names: tuple[str, ...] = ()
    if options.source in SCENES:
        from sam_core import synthetic

        names = synthetic.SCENES[options.source].object_names
    random_weights = not options.checkpoint and shipped_weights(options.model) is None
    if random_weights:
        say(f"{options.model} has RANDOM WEIGHTS: the masks mean nothing, this shows only that everything runs.")

    tracker_parameters: dict[str, Any] = {
        "autostart": True,
        "model": options.model,
        "checkpoint": options.checkpoint,
        "device": options.device,
        "overrides": [*options.overrides, ""],
        "memory_policy": options.memory_policy,
        "overlaps": options.overlaps,
        "edges": options.edges,
        "clicks": options.clicks,
        "detector": options.detector if options.phrase or options.follow else "",
        "detector_checkpoint": options.detector_checkpoint,
    }
    camera_parameters = {"source": options.source, "rate": options.rate}
    tracker = Executable("tracker", tracker_parameters, log=options.out / "tracker.log")
    camera = Executable("camera", camera_parameters, log=options.out / "camera.log")

    started = {"tracker": tracker}

    def go_on() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        for name, process in started.items():
            if not process.running:
                raise NoAnswerError(f"the {name} ended with code {process.exit_code}:\n{process.output()}")

    # A signal is noted and obeyed between two messages; an exception in the middle of one would come out garbled.
    interrupted = Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: interrupted.set())
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    recording = Recording(options.out, options.seconds, pictures=9 if options.follow else 5 if options.phrase else 6)
    try:
        say(f"starting two processes: a camera ({options.source}) and a tracker ({options.model})")
        with tracker, closing(Observer(recording, names, go_on)) as observer:
            observer.until(lambda: observer.count_subscribers("image"), "the tracker to be ready")
            with camera:  # only now the scene begins
                started["camera"] = camera
                track(observer, recording, options)
                summary = observer.summary()
                if options.phrase and not options.follow:
                    find(observer, recording, options.phrase, options, max_instances=3)
        if observer.board is not None:
            observer.board.reunions = reunions_in(tracker.output())
            figures = options.out / "follow.json"
            figures.write_text(json.dumps(observer.board.figures(), indent=1) + "\n")
            summary += [*observer.board.summary(), f"wrote {figures}"]
        say("both processes ended", *summary)
    except NoAnswerError as error:
        say(f"failed: {error}", f"logs: {tracker.log}, {camera.log}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; both processes ended")
        return 130
    finally:
        files = recording.close()
        rclpy.try_shutdown()
    if random_weights:
        say("remember: random weights, so the masks and IoUs above mean nothing")
    say(*(f"wrote {path}" for path in files))
    return 0


def track(observer: Any, recording: Any, options: argparse.Namespace) -> None:
    """Prompt the objects, then report once a second until the time is over."""
    observer.until(lambda: observer.newest, "the tracker's first result")
    if options.follow:
        follow(observer, recording, options)
    elif observer.names:
        observer.prompt_scene()
    else:
        height, width = observer.until(lambda: observer.size, "the tracker's overlay")
        for i, click in enumerate(options.click or [(width / 2, height / 2)]):
            observer.numbers[observer.prompt([click], f"click {i + 1}")] = i + 1
    observer.recording_on = True
    if not options.follow:
        say(f"prompted {len(observer.numbers)} objects through ~/add_prompt")
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        observer.spin_for(min(1.0, end - time.monotonic()))
        say(f"{max(0.0, end - time.monotonic()):5.0f} s left | {observer.live_line(1.0)}")


def follow(observer: Any, recording: Any, options: argparse.Namespace) -> None:
    """Look for a concept once, to compare what is found with the truth; then follow it."""
    from sam_ros.concept_view import mask_of
    from sam_ros.messages import nanoseconds

    answer = find(observer, recording, options.follow, options)
    if observer.names:
        observer.board = Scoreboard.of(options.follow, observer.names)
        truth = observer.truth_of(nanoseconds(answer.stamp))
        observer.board.detected(truth, [mask_of(instance, truth.shape) for instance in answer.instances])
    observer.follow(options.follow, options.score)
    say(f"following '{options.follow}' through ~/follow_concept")


def find(observer: Any, recording: Any, phrase: str, options: argparse.Namespace, max_instances: int = 0) -> Any:
    """Look for a concept by word, put what was found into the strip, and return the service's answer."""
    from sam_core.build import shipped_weights
    from sam_ros.concept_view import draw_instances

    is_random = not options.detector_checkpoint and shipped_weights(options.detector) is None
    answer, image = observer.detect(phrase, 0.0 if is_random else options.score, max_instances)
    found = f"{len(answer.instances)} instances in {answer.duration:.2f} s"
    remark = f"{options.detector} with RANDOM WEIGHTS" if is_random else options.detector
    say(f"looked for '{phrase}' through ~/detect_concept: {found}, by {remark}")
    if image is not None:
        recording.add_still(draw_instances(image, answer.instances, [f"'{phrase}': {found}", remark]))
    return answer


def say(*lines: str) -> None:
    """Print at once, also into a pipe."""
    for line in lines:
        print(f"[demo] {line}", flush=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = parse(args)
    with private_domain():
        return run(options)


if __name__ == "__main__":
    sys.exit(main())
