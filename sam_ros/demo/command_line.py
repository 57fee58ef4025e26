"""The demo's command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sam_ros.camera.sources import SCENES

__all__ = ["parse"]

SCENE, FOLLOW_SCENE = SCENES
DESCRIPTION = "The demo: a camera and a tracker as two real ROS 2 processes, prompted through the service."


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=DESCRIPTION)
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
