"""A sheet of pictures with what the detector found in each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.quality.strip import overlay
from sam_core.sam3 import Detections
from sam_core.synthetic.sprites import Image
from sam_core.training.concepts.questions import Question

__all__ = ["sheet", "tile"]

_SIDE = 200  # px of a picture
_TITLE = 34


def tile(image: Image, kind: str, question: Question, found: Detections) -> Image:
    """Draw an answer: masks, exemplar boxes (green like this, red not), the phrase, and how many there are."""
    labels = np.zeros(image.shape[:2], np.uint8)
    for index, mask in reversed(list(enumerate(found.masks.cpu().numpy()))):
        labels[mask] = index + 1
    picture = cv2.resize(overlay(image, labels), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    for box, positive in zip(question.boxes, question.positive, strict=True):
        x1, y1, x2, y2 = (round(value * _SIDE) for value in box)
        cv2.rectangle(picture, (x1, y1), (x2, y2), (40, 220, 40) if positive else (230, 30, 30), 2)
    title = np.full((_TITLE, _SIDE, 3), 255, np.uint8)
    words = "like the green box" if kind == "exemplar" else question.phrase
    words += ", not the red box" if kind == "excluded" else ""
    lines = (words, f"{len(found)} found, {len(question.answer)} true, presence {found.presence:.2f}")
    for row, line in enumerate(lines):
        cv2.putText(title, line, (3, 13 + 15 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.37, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([title, np.asarray(picture, np.uint8)])


def sheet(tiles: Sequence[Image], columns: int = 6) -> Image:
    """Lay tiles out in rows."""
    blank = np.full_like(tiles[0], 255)
    filled = [*tiles, *[blank] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(filled[row : row + columns]) for row in range(0, len(filled), columns)])
