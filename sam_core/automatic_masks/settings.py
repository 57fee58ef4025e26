"""What counts as a mask where nothing was prompted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sam_core.still_images.at_size import STABILITY_OFFSET

_SHARES = (
    "predicted_iou_threshold",
    "stability_threshold",
    "box_nms_iou",
    "crop_nms_iou",
    "crop_overlap",
)
_COUNTS = {  # least and most
    "points_per_side": (1, 256),
    "points_per_batch": (1, 4096),
    "crop_layers": (0, 4),
    "crop_points_downscale": (1, 16),
    "min_region_area": (0, 2**31),
    "max_masks": (1, 2**31),
    "max_candidates": (1, 2**31),
    "max_bytes": (1, 2**40),
}


@dataclass(frozen=True)
class AutomaticMaskSettings:
    """Settings of a search. The defaults are those of SAM 2's released generator.

    Source: "Segment Anything" (Kirillov et al., 2023), appendix B.

    Attributes:
        points_per_side: points of the grid along each side of the image.
        points_per_batch: points that go through the network together.
        predicted_iou_threshold: masks whose predicted IoU is not above it are left out; 0 leaves out none.
        stability_threshold: masks less stable than this are left out.
        stability_offset: logits between the thresholds whose masks are compared for it.
        box_nms_iou: of two masks of a crop whose boxes overlap by more than this IoU, the better one stays.
        crop_layers: layers of crops besides the whole image; layer n has 4^n crops.
        crop_nms_iou: the same as `box_nms_iou` among crops, where masks of smaller crops stay.
        crop_overlap: how far crops of the first layer overlap, as a share of the image's shorter side.
        crop_points_downscale: in layer n the grid has `points_per_side` divided by this to the power of n.
        min_region_area: holes and islands smaller than this, in px, are removed; 0 removes none.
        max_masks: most masks of a result, the best; None for all.
        max_candidates: bound on the masks that a search holds at once, doubles among them; a search beyond it fails.
        max_bytes: bound on the memory that these masks take; a search beyond it fails.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    predicted_iou_threshold: float = 0.8
    stability_threshold: float = 0.95
    stability_offset: float = STABILITY_OFFSET
    box_nms_iou: float = 0.7
    crop_layers: int = 0
    crop_nms_iou: float = 0.7
    crop_overlap: float = 512 / 1500
    crop_points_downscale: int = 1
    min_region_area: int = 0
    max_masks: int | None = None
    max_candidates: int = 8192
    max_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        for name in _SHARES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be within [0, 1], not {value:g}.")
        for name, (least, most) in _COUNTS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be within [{least}, {most}], not {value}.")
        if self.max_bytes is None or not (math.isfinite(self.stability_offset) and self.stability_offset >= 0):
            raise ValueError("stability_offset must be a finite number of at least 0, and max_bytes a number.")
