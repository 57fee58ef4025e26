"""Our automatic masks against `SAM2AutomaticMaskGenerator` of PyPI `sam2`, on shared weights."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from sam_core import AutomaticMasks, ImagePredictor
from sam_core.automatic_masks import AutomaticMaskSettings, Rle
from sam_core.automatic_masks.grid import crops_of
from sam_core.automatic_masks.regions import without_doubles, without_holes, without_islands, without_small_regions

R = TypeVar("R")

LOW = {"points_per_side": 5, "predicted_iou_threshold": 0.5, "stability_threshold": 0.5}


def result_of(steps: Generator[Any, None, R]) -> R:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def official_names(settings: dict[str, Any]) -> dict[str, Any]:
    names = {
        "predicted_iou_threshold": "pred_iou_thresh",
        "stability_threshold": "stability_score_thresh",
        "box_nms_iou": "box_nms_thresh",
        "crop_layers": "crop_n_layers",
        "crop_nms_iou": "crop_nms_thresh",
        "crop_points_downscale": "crop_n_points_downscale_factor",
    }
    return {names.get(name, name): value for name, value in settings.items()}


@pytest.mark.parametrize(
    ("size", "more"),
    [
        ((96, 128), {}),
        ((130, 70), {"points_per_batch": 7, "box_nms_iou": 0.95}),
        ((128, 160), {"crop_layers": 1, "crop_points_downscale": 2, "box_nms_iou": 0.9, "crop_nms_iou": 0.8}),
    ],
    ids=["whole", "small batches", "crops"],
)
def test_the_same_masks(
    trained_pair: tuple[ImagePredictor, Any],
    official_sam2: Any,
    photo: Callable[[int, int], np.ndarray],
    size: tuple[int, int],
    more: dict[str, Any],
) -> None:
    predictor, official = trained_pair
    image, settings = photo(*size), {**LOW, **more}
    generator = official_sam2.masks.SAM2AutomaticMaskGenerator(official.model, **official_names(settings))
    generator.predictor = official

    theirs = generator.generate(image)
    ours = AutomaticMasks(predictor, **settings).generate(image)

    assert len(ours) == len(theirs) >= 4
    theirs.sort(key=lambda item: -item["predicted_iou"])
    if "crop_layers" in more:
        assert len({item.crop for item in ours}) > 1, "the test needs masks of several crops"
    for mine, other in zip(ours, theirs, strict=True):
        mask = mine.rle.decode()
        assert (mask & other["segmentation"]).sum() / (mask | other["segmentation"]).sum() >= 0.999
        assert mine.predicted_iou == pytest.approx(other["predicted_iou"], abs=1e-5)
        assert mine.stability == pytest.approx(other["stability_score"], abs=1e-3)
        assert mine.point == pytest.approx(other["point_coords"][0], abs=1e-3)
        x, y, width, height = other["crop_box"]
        assert mine.crop == (x, y, x + width, y + height)


@pytest.mark.parametrize("size", [(480, 640), (71, 333)])
def test_the_same_crops_and_points(official_sam2: Any, size: tuple[int, int]) -> None:
    settings = AutomaticMaskSettings(points_per_side=9, crop_layers=2, crop_points_downscale=2)

    boxes, layers = official_sam2.helpers.generate_crop_boxes(size, 2, settings.crop_overlap)
    grids = official_sam2.helpers.build_all_layer_point_grids(9, 2, 2)

    ours = crops_of(size, settings)
    assert [list(crop.box) for crop in ours] == boxes
    for crop, layer in zip(ours, layers, strict=True):
        assert crop.points == pytest.approx(grids[layer] * crop.size[::-1], rel=1e-5)


def random_mask(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((12, 15)) > 0.5
    return np.kron(coarse, np.ones((3, 4), bool))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("area", [1, 30, 10_000])
def test_small_regions_are_removed_alike(official_sam2: Any, seed: int, area: int) -> None:
    mask, remove = random_mask(seed), official_sam2.helpers.remove_small_regions

    assert (without_holes(mask, area) == remove(mask, area, "holes")[0]).all()
    assert (without_islands(mask, area) == remove(mask, area, "islands")[0]).all()


def test_doubles_after_the_removal_of_regions(
    official_sam2: Any, trained_pair: tuple[ImagePredictor, Any], photo: Callable[[int, int], np.ndarray]
) -> None:
    found = AutomaticMasks(trained_pair[0], **LOW, box_nms_iou=0.95).generate(photo(96, 128))
    data = official_sam2.helpers.MaskData(
        rles=[item.rle.coco() for item in found],
        boxes=torch.tensor([item.box for item in found]) - torch.tensor([0, 0, 1, 1]),
    )

    theirs = official_sam2.masks.SAM2AutomaticMaskGenerator.postprocess_small_regions(data, 40, 0.5)
    ours = result_of(without_doubles([without_small_regions(item, 40) for item in found], 0.5, None))

    assert [item.rle.coco() for item in ours] == theirs["rles"]
    assert len(ours) < len(found)


def test_run_lengths_are_those_of_coco(official_sam2: Any) -> None:
    for seed in range(4):
        mask = random_mask(seed)
        mask[0, 0] = seed % 2
        rle = Rle.of(mask)
        assert rle.coco() == official_sam2.helpers.mask_to_rle_pytorch(torch.from_numpy(mask)[None])[0]
        assert (rle.decode() == mask).all()
        assert rle.area == mask.sum()
