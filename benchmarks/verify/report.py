"""The report of a comparison: tables in Markdown, all figures as JSON, one picture a clip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.strip import overlay, save_png
from benchmarks.verify.compare import ClipComparison, FrameDifference

__all__ = ["frames_table", "picture", "summary_table", "write"]

_SUMMARY = (
    "| clip | frames | largest logit difference | … over the largest logit | mask pixels that differ, worst frame | "
    "in all, of mask pixels | lowest IoU |"
)
_FRAMES = "| clip | frame | logit difference | … over the largest logit | mask pixels | that differ | IoU |"
_HEIGHT = 200  # px of a frame in a picture
_TITLE = 20  # px of the line above it
_COLUMNS = ("ours", "reference", "difference")


def summary_table(clips: Sequence[ClipComparison]) -> str:
    """Return one row for each clip."""
    rows = []
    for clip in clips:
        worst = max(clip.frames, key=lambda frame: frame.logit_difference)
        rows.append(
            f"| {clip.name} | {len(clip.frames)} | {worst.logit_difference:.2e} | "
            f"{max(frame.relative for frame in clip.frames):.2e} | {max(frame.differing for frame in clip.frames)} | "
            f"{sum(frame.differing for frame in clip.frames)} of {sum(frame.area for frame in clip.frames):,} | "
            f"{min(frame.iou for frame in clip.frames):.5f} |"
        )
    return _table(_SUMMARY, rows)


def frames_table(clips: Sequence[ClipComparison]) -> str:
    """Return one row for each frame."""
    return _table(_FRAMES, [_row(clip.name, frame) for clip in clips for frame in clip.frames])


def picture(clip: ClipComparison) -> NDArray[np.uint8]:
    """Return the shown frames, a row each: our mask, the reference's, and the pixels of one alone, in red."""
    rows = []
    for number, (image, mine, other) in clip.shown.items():
        width = round(_HEIGHT * image.shape[1] / image.shape[0])
        views = [overlay(image, mine.astype(np.uint8)), overlay(image, other.astype(np.uint8)), image // 3]
        views[2][mine != other] = (255, 0, 0)
        parts = [_small(view, width) for view in views]
        for part, title in zip(parts, _COLUMNS, strict=True):
            _write_on(part, f"{title}, frame {number}")
        rows.append(np.hstack(parts))
    return np.asarray(np.vstack(rows), np.uint8)


def write(
    folder: Path, heading: str, facts: dict[str, Any], clips: Sequence[ClipComparison], verdict: str
) -> list[Path]:
    """Write `verify.md`, `verify.json` and `verify_CLIP.png` into a folder; returns their paths.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {heading}", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    text = "\n".join([*lines, summary_table(clips), "", verdict, "", frames_table(clips), ""])
    paths = [folder / "verify.md", folder / "verify.json"]
    paths[0].write_text(text, encoding="utf-8")
    figures = {clip.name: [asdict(frame) for frame in clip.frames] for clip in clips}
    paths[1].write_text(json.dumps({"facts": facts, "verdict": verdict, "clips": figures}, indent=1) + "\n")
    for clip in clips:
        paths.append(folder / f"verify_{clip.name}.png")
        save_png(paths[-1], picture(clip))
    return paths


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def _row(clip: str, frame: FrameDifference) -> str:
    return (
        f"| {clip} | {frame.frame} | {frame.logit_difference:.2e} | {frame.relative:.2e} | {frame.area:,} | "
        f"{frame.differing} | {frame.iou:.5f} |"
    )


def _small(view: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(view, (width, _HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def _write_on(part: NDArray[np.uint8], text: str) -> None:
    part[:_TITLE] = 0
    cv2.putText(part, text, (6, _TITLE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
