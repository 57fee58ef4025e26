"""Command line: ``python -m benchmarks.verify --model sam2.1_hiera_tiny --checkpoint sam2.1_hiera_tiny.pt``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.reference.peers import MissingPeerError
from benchmarks.verify.clips import SHIPPED, Clip, ClipError, clips_in
from benchmarks.verify.compare import FrameDifference, Verdict, compare, verdict_on
from benchmarks.verify.digests import digests
from benchmarks.verify.ours import OurImages, OurStream
from benchmarks.verify.references import reference_side
from benchmarks.verify.report import summary_table, write
from benchmarks.verify.side import Reference, Side
from benchmarks.verify.source import Source
from benchmarks.verify.words import OurDetector, Sam3Detector
from sam_core import CheckpointError, build_predictor, build_tracker, model_names
from sam_core.build import predictor_names
from sam_core.checkpoints import read_state_dict
from sam_core.devices import resolve_device
from sam_core.sam3 import PhraseError, build_detector, detector_names

EXIT_DIFFERENT, EXIT_IMPOSSIBLE = 1, 2


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verify",
        description="Compare the masks that a published checkpoint gives here with those of its authors' code.",
        epilog="Exit status: 0 the same masks, 1 other masks, 2 nothing could be compared.",
    )
    parser.add_argument("--model", required=True, help="name of a file in config/models")
    parser.add_argument("--checkpoint", type=_path, required=True, help="file, or folder of shards")
    parser.add_argument("--clips", type=_path, default=SHIPPED, help="folder of cup.mp4 and box.mp4")
    parser.add_argument("--words", default=None, help="compare SAM 3's detector by this phrase, not its tracker")
    parser.add_argument("--frames", type=int, default=30, help="of each clip, at most")
    parser.add_argument("--every", type=int, default=1, help="take every so many frames of a clip")
    parser.add_argument("--device", default=None, help="default: CUDA if there is any, else the CPU")
    parser.add_argument(
        "--overrides", nargs="+", default=[], metavar="KEY=VALUE", help="such as model.image_size=512, which is faster"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/verify"), help="folder for tables and pictures")
    options = parser.parse_args(args)
    if min(options.frames, options.every) < 1:
        parser.error("--frames and --every must be at least 1")
    return options


def _path(text: str) -> Path:
    return Path(text).expanduser()


def run(options: argparse.Namespace) -> Verdict:
    """Load, compare, print and write.

    Raises:
        CheckpointError: the file cannot be read or does not fit.
        ClipError: there is no clip.
        MissingPeerError: no reference is installed.
        PhraseError: the phrase is empty.
        ValueError: no such model, device or override.
        OSError: the report cannot be written.
    """
    known = predictor_names() if options.words is None else detector_names()
    if options.model not in known:
        raise ValueError(f"There is no {options.model!r} to compare; known are {', '.join(known)}.")
    device, clips = resolve_device(options.device), clips_in(options.clips)
    facts: dict[str, Any] = {"model": " ".join([options.model, *options.overrides])}
    if options.words is not None:
        facts["words"] = options.words
    for name, digest in digests(options.checkpoint).items():
        facts[f"SHA-256 of {name}"] = digest
        print(f"{name} has the SHA-256 {digest}", flush=True)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        ours, reference = _sides(options, device)
        names = "its own names" if reference.own_names else "our mapping of names"
        facts["reference"] = f"{reference.name}, which read the tensors by {names}"
        facts["device"] = f"{device}, float32, PyTorch {torch.__version__}"
        print(f"strict loading: every tensor is there. Reference: {facts['reference']}.", flush=True)
        found = [_compare(clip, ours, reference, options) for clip in clips]
    verdict = verdict_on(found)
    sentence = _sentence(verdict, options.model, reference.name)
    paths = write(options.output, f"{options.model} against {reference.name}", facts, found, sentence)
    print(f"\n{summary_table(found)}\n\n{sentence}\nwritten: {', '.join(map(str, paths))}")
    return verdict


def _sides(options: argparse.Namespace, device: torch.device) -> tuple[Side, Reference]:
    """Build both sides on the weights of one file."""
    name, overrides = options.model, tuple(options.overrides)
    arguments = (name, options.checkpoint, device, "float32", overrides)
    state = read_state_dict(options.checkpoint)
    if options.words is not None:
        detector = build_detector(*arguments)
        source = Source(name, overrides, state, detector)
        return OurDetector(detector, options.words), Sam3Detector(source, options.words)
    if name in model_names():
        tracker = build_tracker(*arguments)
        reference = reference_side(Source(name, overrides, state, tracker.model))
        return OurStream(tracker, reference.memory_dtype), reference
    predictor = build_predictor(*arguments)
    return OurImages(predictor), reference_side(Source(name, overrides, state, predictor.network))


def _compare(clip: Clip, ours: Side, reference: Side, options: argparse.Namespace) -> Any:
    def tell(frame: FrameDifference) -> None:
        print(f"  {clip.name}, frame {frame.frame}: IoU {frame.iou:.5f}", file=sys.stderr, flush=True)

    shown = {0, options.frames // 3, 2 * options.frames // 3, options.frames - 1}
    images = clip.frames(options.frames, options.every)
    return compare(clip.name, images, clip.box, ours, reference, shown, tell)


def _sentence(verdict: Verdict, model: str, reference: str) -> str:
    """Say the verdict."""
    if verdict is Verdict.EMPTY:
        return f"NO VERDICT: neither {model} here nor {reference} found the object in any frame."
    word = "DIFFERENT" if verdict is Verdict.DIFFERENT else "VERIFIED"
    return f"{word}: with this file, {model} here and {reference} give {verdict.value} on these frames."


def main(args: Sequence[str] | None = None) -> int:
    """Compare; what is missing gets a sentence."""
    options = parse(args)
    try:
        verdict = run(options)
    except (CheckpointError, ClipError, MissingPeerError, PhraseError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_IMPOSSIBLE
    if verdict is Verdict.EMPTY:
        return EXIT_IMPOSSIBLE
    return EXIT_DIFFERENT if verdict is Verdict.DIFFERENT else 0


if __name__ == "__main__":
    sys.exit(main())
