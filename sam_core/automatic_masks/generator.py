"""Segment everything: ask for a grid of points, and keep the masks that are sure, stable and single.

Source: "Segment Anything" (Kirillov et al., 2023), appendix B; with SAM 2's settings as released.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_core.automatic_masks.found import FoundMask
from sam_core.automatic_masks.grid import Box, Crop, crops_of
from sam_core.automatic_masks.nms import between_pixels, suppress
from sam_core.automatic_masks.regions import Cleaned, without_doubles, without_small_regions
from sam_core.automatic_masks.rle import Rle
from sam_core.automatic_masks.settings import AutomaticMaskSettings
from sam_core.errors import ImageError
from sam_core.isolation import inference
from sam_core.still_images import EncodedImage, ImagePredictor, PromptBatch
from sam_core.still_images.at_size import in_parts, stability
from sam_core.streaming.cropped_mask import CroppedMask
from sam_core.streaming.images import image_tensor

_EDGE = 20.0  # px: a mask that ends so near to a crop's edge may be cut off by it


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a search is.

    Attributes:
        points_done: points of the grids that were asked for.
        points_total: how many there are.
        masks_found: masks found so far; doubles are still among them.
        masks: the result, best first; None until the search is done.
    """

    points_done: int
    points_total: int
    masks_found: int
    masks: tuple[FoundMask, ...] | None = None


class AutomaticMasks:
    """Find all masks of an image.

    Masks are kept as run lengths, and a bounded number exists at the image's size at once.

    Args:
        predictor: answers the points; what image it was set to does not matter, and stays.
        settings: of the search; None for the defaults.
        **changes: settings that differ, by name.

    Raises:
        ValueError: a setting that makes no sense.
        TypeError: no such setting.
    """

    def __init__(
        self, predictor: ImagePredictor, settings: AutomaticMaskSettings | None = None, **changes: Any
    ) -> None:
        self._predictor = predictor
        self._network = predictor.network
        self.settings = replace(settings or AutomaticMaskSettings(), **changes)

    def generate(self, image: NDArray[np.uint8] | Tensor) -> tuple[FoundMask, ...]:
        """Return the masks of an image (H, W, 3) uint8 RGB, best first.

        Raises:
            ImageError: not such an image.
            MemoryError: the masks found are more than `max_candidates`, or take more than `max_bytes`.
        """
        masks: tuple[FoundMask, ...] = ()
        for progress in self.search(image):
            masks = progress.masks or ()
        return masks

    @inference
    def search(
        self, image: NDArray[np.uint8] | Tensor | None, encoded: EncodedImage | None = None
    ) -> Iterator[Progress]:
        """Search an image step by step.

        Before each item one crop is encoded, one batch of points is answered, some masks are brought to the image's
        size, or some are compared. The last item has the masks. Whoever stops asking for items cancels the search.

        Args:
            image: (H, W, 3) uint8 RGB; None where `encoded` is enough, which has no crops.
            encoded: the whole image as the predictor encoded it, if that was done already.

        Raises:
            ImageError: not such an image, or none where crops are wanted.
            MemoryError: the masks found are more than `max_candidates`, or take more than `max_bytes`.
        """
        settings = self.settings
        pixels = None if image is None else image_tensor(image)
        if encoded is None or settings.crop_layers:
            if pixels is None:
                raise ImageError("Crops of an image need its own pixels, and they are not at hand.")
            size = (pixels.shape[0], pixels.shape[1])
        else:
            size = encoded.size
        crops = crops_of(size, settings)
        total, done = sum(len(crop.points) for crop in crops), 0
        found: list[FoundMask] = []
        for crop in crops:
            if crop.size == size and encoded is not None:
                part = encoded
            else:
                assert pixels is not None
                x_min, y_min, x_max, y_max = crop.box
                part = self._predictor.encode(pixels[y_min:y_max, x_min:x_max])
                yield Progress(done, total, len(found))
            of_crop: list[FoundMask] = []
            held = _bytes_of(found)
            for start in range(0, len(crop.points), settings.points_per_batch):
                points = crop.points[start : start + settings.points_per_batch]
                done += len(points)
                for new in self._ask(part, crop, points, size):
                    of_crop += new
                    held += _bytes_of(new)
                    self._check_bounds(len(found) + len(of_crop), held)
                    yield Progress(done, total, len(found) + len(of_crop))
            boxes, scores = [item.box for item in of_crop], [item.predicted_iou for item in of_crop]
            progress = Progress(done, total, len(found) + len(of_crop))
            stay = yield from suppress(boxes, scores, settings.box_nms_iou, progress)
            found += [of_crop[i] for i in stay]
        progress = Progress(done, total, len(found))
        if len(crops) > 1:  # masks of smaller crops are finer
            areas = [(x_max - x_min) * (y_max - y_min) for x_min, y_min, x_max, y_max in (item.crop for item in found)]
            boxes, scores = [item.box for item in found], [1 / area for area in areas]
            stay = yield from suppress(boxes, scores, settings.crop_nms_iou, progress)
            found = [found[i] for i in stay]
        if settings.min_region_area:
            cleaned: list[Cleaned] = []
            for item in found:
                cleaned.append(without_small_regions(item, settings.min_region_area))
                yield progress
            found = yield from without_doubles(cleaned, max(settings.box_nms_iou, settings.crop_nms_iou), progress)
        best_first = sorted(found, key=lambda item: -item.predicted_iou)
        yield Progress(done, total, len(found), tuple(best_first[: settings.max_masks]))

    def _check_bounds(self, count: int, size: int) -> None:
        """Refuse to hold too many masks, whose number in a square is the time to compare them, or too large ones."""
        if count > self.settings.max_candidates:
            found = f"More than {self.settings.max_candidates} masks are found"
        elif size > self.settings.max_bytes:
            found = f"The masks found take more than {self.settings.max_bytes / 2**20:.0f} MiB"
        else:
            return
        raise MemoryError(f"{found}: raise predicted_iou_threshold or stability_threshold, or ask for fewer points.")

    def _ask(
        self, image: EncodedImage, crop: Crop, points: NDArray[np.float32], size: tuple[int, int]
    ) -> Iterator[list[FoundMask]]:
        """Yield the masks of some points (N, 2) of a crop that are sure, stable, and not cut off by the crop.

        As many come at once as may exist at the crop's size, and there is at least one item.
        """
        settings, network, threshold = self.settings, self._network, self._predictor.mask_threshold
        places = network.points_to_input(torch.from_numpy(points).to(network.device), crop.size)[:, None]
        labels = torch.ones(places.shape[:2], dtype=torch.int64, device=network.device)
        low_res, ious = self._predictor.decode(image, PromptBatch(places, labels), multimask=True)
        candidates = ious.shape[1]
        low_res, ious = low_res.flatten(0, 1), ious.flatten()
        if settings.predicted_iou_threshold:
            sure = (ious > settings.predicted_iou_threshold).nonzero()[:, 0]
        else:
            sure = torch.arange(len(ious), device=ious.device)
        asked, scores = (sure // candidates).tolist(), ious[sure].tolist()
        if not asked:
            yield []
        for rows, logits in in_parts(network, low_res[sure], crop.size):
            stable = stability(logits, threshold, settings.stability_offset)
            keep = (stable >= settings.stability_threshold).nonzero()[:, 0]
            masks = (logits[keep] > threshold).cpu().numpy()
            numbers = [rows.start + row for row in keep.tolist()]
            items = (
                _found(mask, crop, size, scores[number], value, points[asked[number]])
                for number, mask, value in zip(numbers, masks, stable[keep].tolist(), strict=True)
            )
            yield [item for item in items if item is not None]


def _bytes_of(items: Iterable[FoundMask]) -> int:
    return sum(item.rle.runs.nbytes for item in items)


def _found(
    mask: NDArray[np.bool_],
    crop: Crop,
    size: tuple[int, int],
    predicted_iou: float,
    stable: float,
    point: NDArray[np.float32],
) -> FoundMask | None:
    """Bring a mask of a crop to the image; None where it is empty, or where the crop's edge may cut it off."""
    cropped = CroppedMask.of(mask)
    if not cropped.pixels.size:
        return None
    left, top = crop.box[:2]
    x_min, y_min, x_max, y_max = cropped.box
    box = (x_min + left, y_min + top, x_max + left, y_max + top)
    if _is_cut(box, crop.box, size):
        return None
    if crop.size != size:
        mask = CroppedMask(size, box, cropped.pixels).full()
    place = (float(point[0]) + left, float(point[1]) + top)
    return FoundMask(Rle.of(mask), box, predicted_iou, stable, place, crop.box)


def _is_cut(box: Box, crop: Box, size: tuple[int, int]) -> bool:
    """Tell whether a box ends near an edge of its crop that is no edge of the image."""
    corners = between_pixels([box])[0]
    whole = (0, 0, size[1], size[0])
    near_crop, near_image = (np.abs(corners - np.asarray(edges)) <= _EDGE for edges in (crop, whole))
    return bool((near_crop & ~near_image).any())
