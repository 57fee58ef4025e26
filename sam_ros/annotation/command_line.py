"""The commands: `track` a recording, `compare` two runs."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from sam_core.streaming import CHOICES, POLICIES
from sam_ros.annotation.compare import compare
from sam_ros.annotation.engine import Engine
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.local_engine import LocalEngine, stop_on_signals
from sam_ros.annotation.models import ModelSettings
from sam_ros.annotation.passes import DIRECTIONS
from sam_ros.annotation.results import Results
from sam_ros.annotation.run import Request, Run
from sam_ros.annotation.sources import InputSettings, Window
from sam_ros.annotation.tracking import Interrupted
from sam_ros.annotation.writers import WRITERS, OutputSettings
from sam_ros.conversions.encodings import MAX_PIXELS

__all__ = ["STOPPED", "run"]

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def run(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        return int(options.command(options))
    except AnnotationError as error:
        print(f"sam-annotate: {error}", file=sys.stderr)
        return 2
    except Interrupted:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sam-annotate", description="Annotate recorded data with SAM 2 and SAM 3.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    track = commands.add_parser("track", help="track objects through bags, videos and folders of images")
    track.set_defaults(command=_track)
    track.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING")
    track.add_argument("--output", "-o", type=Path, required=True, help="folder; the same command goes on there")
    what = track.add_argument_group("what to track")
    what.add_argument("--prompts", type=Path, help="YAML file with objects and concepts (docs/annotate.md)")
    what.add_argument("--phrase", action="append", default=[], help="look for a concept, e.g. 'cup'; may be repeated")
    what.add_argument("--saved", nargs="+", type=Path, default=[], metavar="FILE", help="look for saved objects")
    what.add_argument("--every", type=int, default=10, metavar="N", help="look for phrases on every n-th frame (10)")
    what.add_argument("--direction", choices=DIRECTIONS, default="both", help="from each first prompt on (both)")
    what.add_argument("--update", action="store_true", help="correct a run: track what other prompts change")
    reading = track.add_argument_group("what to read")
    reading.add_argument("--topic", help="topic of images, where a bag has several")
    reading.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds after the first image")
    reading.add_argument("--end", type=float, default=math.inf, metavar="S", help="seconds after the first image")
    reading.add_argument("--stride", type=int, default=1, metavar="N", help="take every n-th image (1)")
    reading.add_argument("--rate", type=float, default=30.0, help="images a second of a folder (30)")
    reading.add_argument("--frame-id", default="", help="frame_id of a video's or a folder's images")
    reading.add_argument("--max-image-pixels", type=int, default=MAX_PIXELS, help="larger images are left out")
    reading.add_argument("--white-level", type=float, default=0.0, help="value of 16-bit samples that becomes white")
    writing = track.add_argument_group("what to write")
    writing.add_argument(
        "--write", nargs="+", choices=list(WRITERS), default=["csv", "sheet", "report"], metavar="OUTPUT",
        help=f"of {', '.join(WRITERS)} (csv sheet report)",
    )  # fmt: skip
    writing.add_argument("--image-format", choices=("jpg", "png"), default="jpg", help="of data sets (jpg)")
    writing.add_argument("--validation", type=float, default=0.2, help="share of YOLO's frames for validation (0.2)")
    writing.add_argument("--topics", default="/tracker", help="begin of the bag's topics (/tracker)")
    writing.add_argument("--originals", action="store_true", help="copy the recording's messages into the bag, too")
    _add_model(track)
    machine = track.add_argument_group("where to work")
    machine.add_argument("--engine", choices=("local", "ray"), default="local")
    machine.add_argument("--workers", type=int, default=0, help="of Ray; 0: as many as the cluster has room for")
    machine.add_argument("--parts", type=int, default=1, help="cut each recording into parts, for Ray (1)")
    machine.add_argument("--overlap", type=int, default=10, help="frames that parts have in common (10)")
    machine.add_argument("--quiet", action="store_true", help="no progress bars")
    difference = commands.add_parser("compare", help="say what changed between two runs; status 1 where something did")
    difference.set_defaults(command=_compare)
    difference.add_argument("first", type=Path, metavar="A")
    difference.add_argument("second", type=Path, metavar="B")
    difference.add_argument("--min-iou", type=float, default=0.95, help="mean IoU that each object must keep (0.95)")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Add the node's parameters that results depend on, under the same names."""
    model, default = parser.add_argument_group("models (the tracker's parameters)"), ModelSettings()
    model.add_argument("--model", default=default.model)
    model.add_argument("--checkpoint", default="")
    model.add_argument("--device", default="")
    model.add_argument("--dtype", default="")
    model.add_argument("--overrides", nargs="*", default=[])
    model.add_argument("--max-objects", type=int, default=default.max_objects, help="that phrases may add (16)")
    model.add_argument("--memory-policy", choices=("", *POLICIES), default="")
    for name, choices in CHOICES.items():
        model.add_argument(f"--{name.replace('_', '-')}", choices=("", *choices), default="")
    model.add_argument("--fill-hole-area", type=int, default=default.fill_hole_area)
    model.add_argument("--mask-threshold", type=float, default=default.mask_threshold)
    model.add_argument("--lost-after", type=float, default=default.lost_after, metavar="S", help="(3)")
    model.add_argument("--detector", default=default.detector, help="finds phrases (sam3_nano)")
    model.add_argument("--detector-checkpoint", default="")
    model.add_argument("--detector-overrides", nargs="*", default=[])
    model.add_argument("--threads", type=int, default=0, help="torch's threads on a CPU; 0: its own choice")


def _requests(options: argparse.Namespace) -> list[Request]:
    """Return a request for each recording; of several, each has a folder of its own in that of the run."""
    model = {name: getattr(options, name) for name in ModelSettings.__dataclass_fields__}
    model |= {name: tuple(model[name]) for name in ("overrides", "detector_overrides")}
    window = Window(options.start, options.end, options.stride)
    reading = InputSettings(
        options.topic, window, options.rate, options.frame_id, options.max_image_pixels, options.white_level
    )
    writing = OutputSettings(options.image_format, options.validation, options.topics, options.originals)
    several = len(options.recordings) > 1
    names = [path.resolve().name for path in options.recordings]
    if len(set(names)) < len(names):
        raise AnnotationError("Two recordings have the same name: track them one by one.")
    return [
        Request(
            recording=path,
            folder=options.output / name if several else options.output,
            prompts=options.prompts,
            phrases=tuple(options.phrase),
            saved=tuple(options.saved),
            every=options.every,
            direction=options.direction,
            outputs=tuple(dict.fromkeys(options.write)),
            update=options.update,
            reading=reading,
            model=ModelSettings(**model),
            writing=writing,
            parts=options.parts,
            overlap=options.overlap,
        )
        for path, name in zip(options.recordings, names, strict=True)
    ]


def _track(options: argparse.Namespace) -> int:
    requests, show = _requests(options), not options.quiet
    with stop_on_signals() as stopping:
        engine: Engine
        if options.engine == "ray":
            from sam_ros.annotation.ray_engine import RayEngine

            engine = RayEngine(stopping, options.workers, show=show)
        else:
            engine = LocalEngine(stopping, show=show)
        together = [requests] if engine.at_once else [[request] for request in requests]
        failed = sum(_track_together(group, engine, len(requests), show=show) for group in together)
    return 2 if failed else 0


def _track_together(requests: list[Request], engine: Engine, total: int, *, show: bool) -> int:
    """Track recordings whose passes the engine takes at once; return how many failed.

    Raises:
        AnnotationError: The only recording failed.
    """
    failed = 0
    with ExitStack() as open_runs:
        runs, jobs = [], []
        for request in requests:
            try:
                work = Run(request)
                open_runs.callback(work.close)
                open_runs.enter_context(work.locked())
                jobs += work.plan(engine)
                runs.append(work)
            except AnnotationError as error:
                failed += _failed(request, error, total)
        problems = engine.track(jobs)
        for work in runs:
            try:
                if work.folder in problems:
                    raise AnnotationError(problems[work.folder])
                _write(work, work.finish(engine), show=show)
            except AnnotationError as error:
                failed += _failed(work.request, error, total)
    return failed


def _failed(request: Request, error: AnnotationError, total: int) -> int:
    """Tell that one of several recordings failed; of one alone it is the command's own failure."""
    if total == 1:
        raise error
    print(f"sam-annotate: {request.recording}: {error}", file=sys.stderr)
    return 1


def _write(work: Run, results: Results, *, show: bool) -> None:
    count, name = len(work.source.index), work.source.name
    with tqdm(desc=f"{name} writing", total=count, unit="frame", disable=not show) as bar:
        problems = work.write(results, bar.update)
    _tell([*work.source.problems.texts, *problems])
    print(f"{name}: {count} images, {len(results.labels)} objects; results are in {work.folder}.")


def _tell(problems: Iterable[str]) -> None:
    for text in problems:
        print(f"sam-annotate: {text}", file=sys.stderr)


def _compare(options: argparse.Namespace) -> int:
    found = compare(Results.of_run(options.first).read(), Results.of_run(options.second).read())
    print(found.text())
    return 0 if found.passes(options.min_iou) else 1
