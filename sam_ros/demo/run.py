"""One run of the demo: a camera and a tracker as two real ROS 2 processes, prompted through the service.

It tracks a camera clip by a box, prints a live line and leaves an annotated video and a strip of pictures. With
--follow it tracks what a phrase names and compares that with the scene's truth.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.signals import SignalHandlerOptions

from sam_core.build import shipped_weights
from sam_ros.camera.depth_publisher import WORLD
from sam_ros.camera.depth_sources import ROOM
from sam_ros.camera.sources import CLIPS, SCENES, SourceError, VideoSource
from sam_ros.conversions.messages import mask_of
from sam_ros.conversions.overlay import draw_instances
from sam_ros.conversions.stamps import nanoseconds, stamp_of
from sam_ros.demo.animation import Animation
from sam_ros.demo.depth_watch import DepthWatch
from sam_ros.demo.evaluation.scoreboard import Scoreboard, reunions_in
from sam_ros.demo.observer import NoAnswerError, Observer
from sam_ros.demo.recording import Recording
from sam_ros.demo.selection import Selection
from sam_ros.runtime.processes import Executable

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Run camera, tracker and observer; return the exit code."""
    options.out.mkdir(parents=True, exist_ok=True)
    names: tuple[str, ...] = ()
    if options.source in SCENES:
        from sam_core import synthetic

        names = synthetic.SCENES[options.source].object_names
    if options.source == ROOM:
        from sam_core.synthetic.room_scene import RoomScene

        names = RoomScene(64, 48).object_names
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
        "non_overlap": options.non_overlap,
        "mask_refinement": options.mask_refinement,
        "click_augmentation": options.click_augmentation,
        "detector": options.detector if options.phrase or options.follow or options.console else "",
        "detector_checkpoint": options.detector_checkpoint,
    }
    camera_parameters = {"source": options.source, "rate": options.rate, "wait_for_subscriber": True}
    tracker = Executable("tracker", tracker_parameters, log=options.out / "tracker.log")
    camera = Executable("camera", camera_parameters, log=options.out / "camera.log")

    localizer = Executable(
        "localizer",
        {"autostart": True, "target_frame": WORLD if options.source == ROOM else "", "partner_timeout": 2.0},
        remappings={"objects": "tracker/objects"},
        log=options.out / "localizer.log",
    )
    started = {"tracker": tracker}
    if options.depth:
        started["localizer"] = localizer
    if options.rerun:
        file = {"file": options.out / "tracking_%Y-%m-%d_%H-%M-%S.rrd"}
        objects = {"objects": "tracker/objects"}
        started["rerun"] = Executable("rerun", file, remappings=objects, log=options.out / "rerun.log")
    if options.console:
        started["console"] = Executable("console", {"port": 0}, log=options.out / "console.log")

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
    rate = options.rate or own_rate(options.source)
    recording = Recording(options.out, options.seconds, pictures=9 if options.follow else 5 if options.phrase else 6)
    animation = None
    if options.animation:
        animation = Animation(options.animation, speed=(own_rate(options.source) or rate) / rate if rate else 1.0)

    def keep(image: NDArray[np.uint8], stamp: int) -> None:
        recording.add(image, stamp)
        if animation is not None:
            animation.add(image, stamp)

    pace = f", {rate:.1f} images per second" if rate else ""
    try:
        others = " and a ".join(started)
        say(
            f"starting {len(started) + 1} processes: a camera ({options.source}{pace}) and a {others} ({options.model})"
        )
        with ExitStack() as stack:
            for process in started.values():
                stack.enter_context(process)
            watch = DepthWatch(keep) if options.depth else None
            observer = stack.enter_context(closing(Observer(watch.add if watch else keep, names, go_on)))
            if watch is not None:
                watch.subscribe(observer)
            observer.until(lambda: observer.count_subscribers("image"), "the tracker to be ready")
            if options.console:
                say(f"console: {observer.until(lambda: address_in(started['console'].output()), 'the console')}")
            with camera:  # only now the scene begins
                started["camera"] = camera
                track(observer, recording, options)
                summary = observer.summary() + (watch.summary(observer.numbers) if watch else [])
                if options.phrase and not options.follow:
                    find(observer, recording, options.phrase, options, max_instances=3)
        if observer.board is not None:
            observer.board.reunions = reunions_in(tracker.output())
            figures = options.out / "follow.json"
            figures.write_text(json.dumps(observer.board.figures(), indent=1) + "\n")
            summary += [*observer.board.summary(), f"wrote {figures}"]
        say("all processes ended", *summary)
    except NoAnswerError as error:
        say(f"failed: {error}", f"logs: {tracker.log}, {camera.log}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; all processes ended")
        return 130
    finally:
        files = recording.close() + (animation.close() if animation is not None else [])
        rclpy.try_shutdown()
    if random_weights:
        say("remember: random weights, so the masks and IoUs above mean nothing")
    say(*(f"wrote {path}" for path in files))
    return 0


def track(observer: Observer, recording: Recording, options: argparse.Namespace) -> None:
    """Prompt the objects, then report once a second until the time is over."""
    first = observer.until(lambda: observer.newest, "the tracker's first result")
    if options.follow:
        follow(observer, recording, options)
    elif observer.names:
        observer.prompt_scene()
    else:
        for i, selection in enumerate(options.selections or [middle(observer)], start=1):
            observer.numbers[observer.prompt(selection, first)] = i
    # Results of images from before the prompt may still be on their way.
    result = first if options.follow else observer.until(observer.result_of_all, "a result with what was prompted")
    observer.record_from = stamp_of(result.header)
    if not options.follow:
        say(f"prompted {len(observer.numbers)} objects through ~/add_prompt")
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        observer.spin_for(min(1.0, end - time.monotonic()))
        say(f"{max(0.0, end - time.monotonic()):5.0f} s left | {observer.live_line(1.0)}")


def middle(observer: Observer) -> Selection:
    """Select what is in the middle of the image."""
    height, width = observer.until(lambda: observer.size, "the tracker's overlay")
    return Selection("click 1", points=((width / 2, height / 2),))


def address_in(log: str) -> str:
    """Return the address that the console has printed; empty: not yet."""
    found = re.search(r"console at (http://\S+)", log)
    return found[1] if found else ""


def own_rate(source: str) -> float | None:
    """Return the images per second of a clip or video; None for other sources, and where nothing can be read."""
    path = CLIPS.get(source, Path(source).expanduser())
    with suppress(SourceError):
        return VideoSource(path).rate if path.is_file() else None
    return None


def follow(observer: Observer, recording: Recording, options: argparse.Namespace) -> None:
    """Look for a concept once, to compare what is found with the truth; then follow it."""
    answer = find(observer, recording, options.follow, options)
    if observer.names:
        observer.board = Scoreboard.of(options.follow, observer.names)
        truth = observer.truth_of(nanoseconds(answer.stamp))
        observer.board.detected(truth, [mask_of(instance, truth.shape) for instance in answer.instances])
    observer.follow(options.follow, options.score)
    say(f"following '{options.follow}' through ~/follow_concept")


def find(
    observer: Observer, recording: Recording, phrase: str, options: argparse.Namespace, max_instances: int = 0
) -> Any:
    """Look for a concept by word, put what was found into the strip, and return the service's answer."""
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
