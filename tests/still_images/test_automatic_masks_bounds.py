"""What a search for all masks may take: time at one go, masks, and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from sam_core import AutomaticMasks, ImagePredictor, build_predictor
from sam_core.automatic_masks import FoundMask, nms

LOW = {"points_per_side": 4, "predicted_iou_threshold": 0.0, "stability_threshold": 0.0}
CROPS = {**LOW, "crop_layers": 1, "crop_nms_iou": 1.0}

Photo = Callable[[int, int], np.ndarray]


@pytest.fixture(scope="module")
def predictor() -> ImagePredictor:
    return build_predictor("sam2_nano", device="cpu", dtype="float32")


def keys(masks: tuple[FoundMask, ...]) -> list[tuple[object, ...]]:
    return [(item.box, item.crop, item.predicted_iou, item.rle.runs.tobytes()) for item in masks]


def test_many_boxes_are_compared_with_pauses() -> None:
    count = 1500
    corners = np.random.default_rng(0).integers(0, 500, (count, 2))
    boxes = [(int(x), int(y), int(x) + 50, int(y) + 50) for x, y in corners]

    steps = nms.suppress(boxes, [1.0] * count, 1.0, "pause")
    pauses = []
    try:
        while True:
            pauses.append(next(steps))
    except StopIteration as end:
        kept = end.value

    assert kept == list(range(count))
    assert set(pauses) == {"pause"}
    assert len(pauses) >= count**2 / 2 // (nms._PAIRS_AT_ONCE + count)


def test_pauses_change_no_mask(predictor: ImagePredictor, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    search = AutomaticMasks(predictor, **LOW, crop_layers=1, box_nms_iou=0.95, crop_nms_iou=0.95, min_region_area=9)
    expected = list(search.search(photo(96, 128)))

    monkeypatch.setattr(nms, "_PAIRS_AT_ONCE", 1)
    paused = list(search.search(photo(96, 128)))

    assert keys(paused[-1].masks or ()) == keys(expected[-1].masks or ())
    assert len(paused) > len(expected) + len(expected[-1].masks or ())


def test_more_masks_than_are_compared_in_time_end_the_search(predictor: ImagePredictor, photo: Photo) -> None:
    found = AutomaticMasks(predictor, **LOW, box_nms_iou=1.0).generate(photo(96, 128))

    again = AutomaticMasks(predictor, **LOW, box_nms_iou=1.0, max_candidates=len(found))
    assert len(again.generate(photo(96, 128))) == len(found)
    fewer = AutomaticMasks(predictor, **LOW, box_nms_iou=1.0, max_candidates=len(found) - 1)
    with pytest.raises(MemoryError, match=f"More than {len(found) - 1} masks are found: raise"):
        fewer.generate(photo(96, 128))


def test_memory_of_masks_that_were_dropped_counts_no_more(predictor: ImagePredictor, photo: Photo) -> None:
    def sizes(masks: tuple[FoundMask, ...]) -> Counter[tuple[int, ...]]:
        count: Counter[tuple[int, ...]] = Counter()
        for item in masks:
            count[item.crop] += item.rle.runs.nbytes
        return count

    image = photo(96, 128)
    found = sizes(AutomaticMasks(predictor, **CROPS, box_nms_iou=1.0).generate(image))
    kept = sizes(AutomaticMasks(predictor, **CROPS, box_nms_iou=0.1).generate(image))
    whole, *quarters = sorted(found, key=lambda box: (box != (0, 0, 128, 96), box))
    held, most = 0, 0
    for crop in (whole, *quarters):  # in the order of the search
        most = max(most, held + found[crop])
        held += kept[crop]
    assert most < found.total()

    AutomaticMasks(predictor, **CROPS, box_nms_iou=0.1, max_bytes=most).generate(image)
    with pytest.raises(MemoryError, match="take more than"):
        AutomaticMasks(predictor, **CROPS, box_nms_iou=0.1, max_bytes=most - 1).generate(image)
