"""Both sides on the same frames: how far apart their masks are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from benchmarks.verify.side import Answer, Side

__all__ = ["ClipComparison", "FrameDifference", "Verdict", "compare", "verdict_on"]

# A frame is the same where its masks agree to this IoU, and the same up to rounding where to the second. The reference
# and ours add numbers in another order; what a frame rounds differently comes back through the memory.
SAME_IOU = 0.999
CLOSE_IOU = 0.98


class Verdict(Enum):
    """What the differences of all frames say."""

    SAME = "the same masks"
    CLOSE = "the same masks up to rounding"
    DIFFERENT = "other masks"
    EMPTY = "no masks to compare"


@dataclass(frozen=True)
class FrameDifference:
    """How far apart both sides are on a frame.

    Attributes:
        frame: Number of the frame in the clip.
        largest_logit: Largest magnitude of the reference's logits.
        logit_difference: Largest absolute difference of two logits.
        area: Pixels of the reference's mask.
        differing: Mask pixels that differ.
        iou: Intersection over union of both masks; 1 where both are empty.
    """

    frame: int
    largest_logit: float
    logit_difference: float
    area: int
    differing: int
    iou: float

    @property
    def relative(self) -> float:
        """Largest difference over the largest magnitude."""
        return self.logit_difference / max(self.largest_logit, 1e-12)


@dataclass
class ClipComparison:
    """A clip's frames.

    Attributes:
        name: The clip.
        frames: One for each frame.
        shown: Images (H, W, 3) and both masks (H, W) bool of the frames that a picture shows, by number.
    """

    name: str
    frames: list[FrameDifference] = field(default_factory=list)
    shown: dict[int, tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]] = field(default_factory=dict)


def compare(
    name: str,
    images: Iterable[NDArray[np.uint8]],
    box: NDArray[np.float32],
    ours: Side,
    reference: Side,
    shown: Iterable[int],
    tell: Callable[[FrameDifference], None] = lambda _: None,
) -> ClipComparison:
    """Give both sides the frames of a clip, one by one.

    Args:
        name: The clip.
        images: Its frames (H, W, 3) RGB.
        box: The object in the first one, xyxy px.
        ours: Our side.
        reference: The other.
        shown: Numbers of the frames to keep for a picture; the worst frame is kept, too.
        tell: Is told each frame's difference at once.
    """
    found, kept, worst = ClipComparison(name), set(shown), 0
    for i, image in enumerate(images):
        mine, other = (side.step(image) if i else side.begin(image, box) for side in (ours, reference))
        found.frames.append(_difference(i, mine, other))
        is_worst = found.frames[i].iou < found.frames[worst].iou
        if is_worst and worst not in kept:
            del found.shown[worst]
        if is_worst:
            worst = i
        if i in kept or is_worst:
            found.shown[i] = image, mine.mask.cpu().numpy(), other.mask.cpu().numpy()
        tell(found.frames[-1])
    return found


def _difference(frame: int, mine: Answer, other: Answer) -> FrameDifference:
    logits, masks = other.logits.cpu(), (mine.mask.cpu(), other.mask.cpu())
    union = int((masks[0] | masks[1]).sum())
    return FrameDifference(
        frame,
        float(logits.abs().max()),
        float((mine.logits.cpu() - logits).abs().max()),
        int(masks[1].sum()),
        int((masks[0] != masks[1]).sum()),
        int((masks[0] & masks[1]).sum()) / union if union else 1.0,
    )


def verdict_on(clips: Iterable[ClipComparison]) -> Verdict:
    """Judge all frames by the worst one."""
    frames = [frame for clip in clips for frame in clip.frames]
    if not any(frame.area for frame in frames):
        return Verdict.EMPTY if all(frame.differing == 0 for frame in frames) else Verdict.DIFFERENT
    worst = min(frame.iou for frame in frames)
    return Verdict.SAME if worst >= SAME_IOU else Verdict.CLOSE if worst >= CLOSE_IOU else Verdict.DIFFERENT
