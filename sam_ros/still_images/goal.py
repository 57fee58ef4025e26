"""A goal of segment_everything, read and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sam_msgs.action import SegmentEverything

from sam_core.automatic_masks import AutomaticMaskSettings
from sam_ros.runtime.errors import RefusedError
from sam_ros.still_images.source import is_given

__all__ = ["EverythingGoal", "goal_of"]

MOST_POINTS = 64  # along a side
MOST_LAYERS = 2
LARGEST_REGION = 2**31  # px


@dataclass(frozen=True)
class EverythingGoal:
    """What to search for.

    Attributes:
        settings: Of the search.
        tracks: Whether the masks are tracked.
        max_masks: Most masks; None for all, or as many as the tracker has room for.
    """

    settings: AutomaticMaskSettings
    tracks: bool
    max_masks: int | None


def goal_of(request: SegmentEverything.Goal, points_per_batch: int) -> EverythingGoal:
    """Check a goal.

    Args:
        request: The goal.
        points_per_batch: How many points are asked for at a time.

    Raises:
        RefusedError: A field makes no sense; a sentence says which.
    """
    if request.action not in (SegmentEverything.Goal.REPORT, SegmentEverything.Goal.TRACK):
        raise RefusedError(f"an action is REPORT (0) or TRACK (1), not {request.action}")
    tracks = request.action == SegmentEverything.Goal.TRACK
    if tracks and is_given(request.image):
        raise RefusedError("TRACK needs an image that the tracker has processed: give its stamp instead of an image")
    if not 1 <= request.points_per_side <= MOST_POINTS:
        raise RefusedError(f"points_per_side must be within [1, {MOST_POINTS}], not {request.points_per_side}")
    if request.crop_layers > MOST_LAYERS:
        raise RefusedError(f"crop_layers must be within [0, {MOST_LAYERS}], not {request.crop_layers}")
    for name in ("predicted_iou_threshold", "stability_threshold", "box_nms_iou"):
        value = getattr(request, name)
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise RefusedError(f"{name} must be within [0, 1], not {value:g}")
    if request.min_region_area > LARGEST_REGION:
        raise RefusedError(f"min_region_area must be within [0, {LARGEST_REGION}], not {request.min_region_area}")
    settings = AutomaticMaskSettings(
        points_per_side=request.points_per_side,
        points_per_batch=points_per_batch,
        crop_layers=request.crop_layers,
        predicted_iou_threshold=request.predicted_iou_threshold,
        stability_threshold=request.stability_threshold,
        box_nms_iou=request.box_nms_iou,
        min_region_area=request.min_region_area,
    )
    return EverythingGoal(settings, tracks, request.max_masks or None)
