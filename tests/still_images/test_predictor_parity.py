"""Our image predictor against `SAM2ImagePredictor` of PyPI `sam2`, on shared random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.reference.errors import relative_error
from sam_core import ImagePredictor

TOLERANCE = 1e-4
SIZES = [(96, 128), (128, 128), (150, 70)]
POINTS = np.array([[20.0, 30.0], [50.0, 60.0], [10.5, 61.25]], np.float32)
BOX = np.array([12.0, 14.0, 55.0, 66.0], np.float32)


@pytest.fixture(params=SIZES, ids=str)
def both(
    request: pytest.FixtureRequest, pair: tuple[ImagePredictor, Any], photo: Callable[[int, int], np.ndarray]
) -> tuple[ImagePredictor, Any]:
    image = photo(*request.param)
    ours, official = pair
    ours.set_image(image)
    official.set_image(image)
    return ours, official


def compare(ours: Any, official: tuple[np.ndarray, ...], row: int = 0) -> None:
    masks, scores, low_res = official
    assert relative_error(ours.low_res[row], torch.from_numpy(low_res)) <= TOLERANCE
    assert relative_error(ours.predicted_iou[row], torch.from_numpy(scores)) <= TOLERANCE
    assert (ours.masks[row].numpy() != masks).mean() <= 1e-4
    assert masks.any(), "the test needs masks that are not empty"


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("given", ["point", "points", "box", "box and points"])
def test_points_and_boxes(both: tuple[ImagePredictor, Any], given: str, multimask: bool) -> None:
    ours, official = both
    points = {"point": POINTS[:1], "box": None}.get(given, POINTS)
    labels = None if points is None else np.array([1, 0, 1])[: len(points)]
    box = BOX if "box" in given else None

    result = ours.predict(points, labels, box, multimask=multimask)

    compare(result, official.predict(points, labels, box, multimask_output=multimask))


@pytest.mark.parametrize("with_point", [True, False], ids=["logits and a point", "logits alone"])
def test_logits_of_an_earlier_answer_are_refined(both: tuple[ImagePredictor, Any], with_point: bool) -> None:
    ours, official = both
    first = ours.predict(POINTS, [1, 0, 1], multimask=True)
    best = int(first.best[0])
    points, labels = (POINTS[:1], np.array([1])) if with_point else (None, None)

    result = ours.predict(points, labels, logits=first.low_res[0, best], multimask=False)

    earlier = first.low_res[0, best].numpy()[None]
    compare(result, official.predict(points, labels, mask_input=earlier, multimask_output=False))


def test_a_batch_of_boxes(both: tuple[ImagePredictor, Any]) -> None:
    ours, official = both
    boxes = np.stack((BOX, BOX + 3, BOX / 2))

    result = ours.predict(boxes=boxes, multimask=False)

    masks, scores, low_res = official.predict(box=boxes, multimask_output=False)
    assert result.masks.shape == masks.shape
    for row in range(3):
        compare(result, (masks[row], scores[row], low_res[row]), row)
