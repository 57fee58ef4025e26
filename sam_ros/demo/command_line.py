"""The demo's command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from sam_ros.camera.depth_sources import ROOM, is_tum
from sam_ros.camera.sources import CLIPS, SCENES
from sam_ros.demo.selection import CLIP_SELECTIONS, Selection, read_box, read_point

__all__ = ["parse"]

(CLIP,) = CLIPS
SCENE, FOLLOW_SCENE = SCENES
DESCRIPTION = "The demo: a camera and a tracker as two real ROS 2 processes, prompted through the service."


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; `selections` of the result says what to track, empty: the image's centre."""
    parser = argparse.ArgumentParser(prog="demo", description=DESCRIPTION)
    parser.add_argument(
        "--seconds",
        type=positive,
        help=f"how long to track (default: 16 for {CLIP}, 24 with --follow, 600 with --console, else 20)",
    )
    parser.add_argument(
        "--source",
        help=f"{CLIP} (a camera clip that comes with the package), {' or '.join(SCENES)} (rendered, truth known), "
        f"a video file, a folder of images, or a webcam's number (default: {CLIP}; {FOLLOW_SCENE} with --follow)",
    )
    parser.add_argument(
        "--depth",
        action="store_true",
        help=f"locate what is tracked in space, with a third process, the localizer: in a rendered {ROOM} whose truth "
        "is known, or with --source in a folder of TUM RGB-D",
    )
    parser.add_argument("--rate", type=float, default=0.0, help="images per second (default: the source's own)")
    parser.add_argument("--model", default="sam2_nano", help="model configuration (default: sam2_nano)")
    parser.add_argument("--checkpoint", default="", help="weights (default: those that the package ships)")
    parser.add_argument("--device", default="", help="torch device (default: cuda where there is one, else cpu)")
    parser.add_argument(
        "--memory-policy",
        default="",
        help="which images enter an object's memory: fifo, as SAM 2 was published, or strided: every third one "
        "(default: the model's own, strided for sam2_nano)",
    )
    parser.add_argument(
        "--non-overlap",
        default="",
        help="how overlapping masks are resolved: none, as in SAM 2, highest_score, or color_histogram "
        "(default: the model's own, color_histogram for sam2_nano)",
    )
    parser.add_argument(
        "--mask-refinement",
        default="",
        help="how masks at the image's size come from the network's coarse ones: none, by interpolation, as in SAM 2, "
        "or guided_filter: their edges are moved to those of the image (default: the model's own, guided_filter for "
        "sam2_nano)",
    )
    parser.add_argument(
        "--click-augmentation",
        default="",
        help="how clicks that begin an object are answered: none, from the image, as in SAM 2, or views: as the mean "
        "over the image, its mirror image and a magnified part (default: the model's own, views for sam2_nano)",
    )
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="Hydra overrides of the model")
    parser.add_argument(
        "--box",
        action="append",
        type=read_box,
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="a box in px around an object in the first image, repeatable; not for a rendered scene",
    )
    parser.add_argument(
        "--click",
        action="append",
        type=read_point,
        default=[],
        metavar="X,Y",
        help="a point in px on an object in the first image, repeatable; each is an object of its own; not for a "
        "rendered scene (default without --box: the image's centre)",
    )
    parser.add_argument(
        "--phrase",
        help=f"what to look for by word at the end, without --follow; empty: nothing (default: blue box with {SCENE}, "
        "else nothing)",
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
    parser.add_argument(
        "--console", action="store_true", help="start the operator's console, too, and print its address"
    )
    parser.add_argument("--rerun", action="store_true", help="log for the Rerun viewer, too: tracking_*.rrd")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for the results")
    parser.add_argument(
        "--animation",
        type=animation,
        metavar="FILE",
        help="write an animated picture (.webp), too. A video is played at its own speed: with a "
        "--rate that the tracker keeps up with, every image is tracked and the animation is smooth",
    )
    options = parser.parse_args(args)
    options.source = options.source or (ROOM if options.depth else FOLLOW_SCENE if options.follow else CLIP)
    if options.depth and (options.follow or not (options.source == ROOM or is_tum(Path(options.source).expanduser()))):
        parser.error(f"--depth needs {ROOM} or a folder of TUM RGB-D as its source, and no --follow")
    if options.seconds is None:
        options.seconds = (
            600.0 if options.console else 24.0 if options.follow else 16.0 if options.source == CLIP else 20.0
        )
    if options.phrase is None:
        options.phrase = "blue box" if options.source == SCENE else ""
    options.selections = [Selection(f"box {i}", box=box) for i, box in enumerate(options.box, start=1)]
    options.selections += [Selection(f"click {i}", points=(at,)) for i, at in enumerate(options.click, start=1)]
    if options.selections and (options.follow or options.source in (*SCENES, ROOM)):
        parser.error(
            "--box and --click go neither with --follow nor with a rendered scene, where the truth says what to click"
        )
    if not options.selections and options.source in CLIP_SELECTIONS:
        options.selections = [CLIP_SELECTIONS[options.source]]
    return options


def positive(text: str) -> float:
    """Read a finite number above 0."""
    number = float(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def animation(text: str) -> Path:
    """Read the name of an animated picture."""
    if not text.endswith(".webp"):
        raise argparse.ArgumentTypeError(f"'{text}' does not end in .webp")
    return Path(text)
