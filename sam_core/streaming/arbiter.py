"""The interface of an arbiter: it decides on the masks of a frame after the network and before they are remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from torch import Tensor

from sam_core.streaming.tracking import Tracked

if TYPE_CHECKING:
    from sam_core.streaming.history import Frame


@dataclass(frozen=True, eq=False)
class Ruling:
    """What was decided about B objects on a frame.

    Attributes:
        shown: (B, m, m) float32 mask logits that results show.
        remembered: (B, m, m) float32 mask logits that the memory encoder sees.
        scores: for each object the logit of being visible that its memory is made with.
        suppressed: whether an object is shown as absent, although the network sees it.
    """

    shown: Tensor
    remembered: Tensor
    scores: tuple[float, ...]
    suppressed: tuple[bool, ...]


Rule: TypeAlias = "Callable[[Tracked], Ruling]"  # an arbiter that knows its frame and objects


class Arbiter(Protocol):
    """Decide on masks. It must not change anything itself: the step may still fail."""

    def __call__(self, frame: Frame, object_ids: tuple[int, ...], tracked: Tracked) -> Ruling:
        """Return the ruling on the objects of a frame, whose rows are in the order of their ids."""
