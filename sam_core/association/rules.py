"""The settings of the rules that turn detections into tracks.

Source: SAM 3 (Carion et al., "SAM 3: Segment Anything with Concepts", 2025, section on video) and the configuration of
the released model, as `transformers`' `Sam3VideoConfig` names it. What is ours is marked so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

RECONDITION_MASKS = ("track", "detection")


@dataclass(frozen=True)
class ConceptRules:
    """When a detection is a track, when it starts one, and when a track ends.

    A *search* is one detection of a concept on one frame. Where every frame is searched, searches are frames.

    Attributes:
        score_threshold: detections at or below this score are ignored, 0 … 1.
        nms_iou: of two detections of a concept whose masks overlap by more than this IoU, the better one is kept,
            0 … 1; 0 keeps both.
        max_detections: detections of a concept in a search that are looked at, the best first (ours: a bound on memory;
            the released model has 200 queries, so never more).
        match_iou: a detection is a track from this mask IoU on, above 0 … 1.
        unmatched_iou: a track is unmatched where no detection reaches this mask IoU, 0 … 1.
        new_score: a detection that is no track starts one from this score on, 0 … 1. While a concept has no track, the
            released rules let every detection start one, see `first_at_any_score`.
        first_at_any_score: whether detections need no `new_score` while nothing is tracked, as released.
        hot_start: searches after which a track is confirmed; until then it is tentative and may be withdrawn.
            0 confirms at once and withdraws nothing.
        hot_start_unmatched: a tentative track that was unmatched in so many searches is withdrawn.
        hot_start_duplicate: a tentative track that shared its detection with an older track in so many searches is
            withdrawn.
        keep_alive_start: keep-alive count of a new track, in searches; it goes up where the track is matched, down
            where it is unmatched.
        keep_alive_most: its upper bound.
        keep_alive_least: its lower bound.
        hide_unmatched: whether a track whose keep-alive count is 0 or less is hidden (released: off, the option
            `suppress_unmatched_only_within_hotstart` is on).
        empty_counts_as_unmatched: whether an empty mask lowers the keep-alive count too (released: off).
        recondition_every: every so many searches confident tracks get a conditioning memory; 0: never.
        recondition_score: a detection is confident from this score on, and a track above this logit of being visible.
        recondition_iou: ... and from this mask IoU on, 0 … 1.
        recondition_mask: whose mask is remembered then: `track`, as `transformers` does, or `detection`.
        overlap_iou: of two tracks of a concept whose masks overlap from this IoU on, the one that was occluded more
            recently is suppressed, if the other was occluded before at all; 0 suppresses none.
        least_share: a track that keeps less than this share of its mask where each pixel goes to the highest logit is
            remembered as absent, 0 … 1.
        fill_hole_area: holes and specks of masks up to so many places of the network's mask grid are filled or removed.
        max_objects: most tracks of a concept; None for no limit but the stream's.
        reidentify: whether a detection that is no track stands for a track of its concept that is not seen any more,
            which so keeps its id (ours; the released rules always start a new one).
        across_concepts: whether a detection that overlaps an object of another origin, from `match_iou` on, starts none
            (ours; the released rules keep concepts apart).
        leave_after: a track that was not seen in so many searches in a row leaves and frees its place; 0: never, as
            released.
    """

    score_threshold: float = 0.5
    nms_iou: float = 0.1
    max_detections: int = 200
    match_iou: float = 0.1
    unmatched_iou: float = 0.5
    new_score: float = 0.7
    first_at_any_score: bool = True
    hot_start: int = 15
    hot_start_unmatched: int = 8
    hot_start_duplicate: int = 8
    keep_alive_start: int = 30
    keep_alive_most: int = 30
    keep_alive_least: int = -1
    hide_unmatched: bool = False
    empty_counts_as_unmatched: bool = False
    recondition_every: int = 16
    recondition_score: float = 0.8
    recondition_iou: float = 0.8
    recondition_mask: str = "track"
    overlap_iou: float = 0.7
    least_share: float = 0.3
    fill_hole_area: int = 16
    max_objects: int | None = None
    reidentify: bool = False
    across_concepts: bool = False
    leave_after: int = 0

    def __post_init__(self) -> None:
        """Refuse rules that make no sense."""
        if not 0 < self.match_iou <= 1:
            raise ValueError(f"the IoU from which masks match must be above 0 and at most 1, not {self.match_iou:g}")
        texts = {
            "score_threshold": "the score threshold",
            "new_score": "the score that starts an object",
            "nms_iou": "the IoU of the non-maximum suppression",
            "unmatched_iou": "the IoU below which a track is unmatched",
            "recondition_score": "the score that reconditions",
            "recondition_iou": "the IoU that reconditions",
            "overlap_iou": "the IoU from which a track is suppressed",
            "least_share": "the share of a mask that must be left",
        }
        for name, text in texts.items():
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{text} must be within [0, 1], not {getattr(self, name):g}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and value < 0 and field.name != "keep_alive_least":
                raise ValueError(f"{field.name} must be at least 0, not {value}")
        if self.max_objects is not None and self.max_objects < 1:
            raise ValueError(f"max_objects must be at least 1, not {self.max_objects}")
        if self.recondition_mask not in RECONDITION_MASKS:
            raise ValueError(f"recondition_mask must be one of {', '.join(RECONDITION_MASKS)}")


RELEASED = ConceptRules()

# For a robot: a new object needs its score always, a lost one keeps its id, what somebody clicked is not tracked twice,
# what has left for good frees its place.
LIVE = ConceptRules(first_at_any_score=False, reidentify=True, across_concepts=True, leave_after=300, fill_hole_area=0)
