"""The interface of a mask postprocessor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class ObjectMasks:
    """Masks of N objects on a frame, as results will show them.

    Attributes:
        logits: (N, h, w) float32 mask logits.
        scores: (N,) logits that the objects are visible.
        suppressed: whether an object's mask was given to another one, so that it is shown as absent.
        size: (H, W) of the image in px.
        threshold: a pixel belongs to an object where its logit is above this.
    """

    logits: Tensor
    scores: Tensor
    suppressed: tuple[bool, ...]
    size: tuple[int, int]
    threshold: float


class MaskPostprocessor(ABC):
    """Change masks after the network. A postprocessor has settings but no state, and never touches the memory.

    Attributes:
        needs_image: whether it looks at the frame's image.
        saved_reference: name and shape of its reference, a float32 tensor, in a saved object's file; None for none.
    """

    needs_image = False
    saved_reference: tuple[str, tuple[int, ...]] | None = None

    def reference(self, masks: ObjectMasks, image: Tensor | None) -> Any:
        """Return what has to be known of an object later, when a prompt is answered; None for nothing.

        Args:
            masks: of that one object, as they are shown.
            image: (3, S, S) levels of the frame's resized image, if any postprocessor needs it.
        """
        return None

    @abstractmethod
    def __call__(self, masks: ObjectMasks, image: Tensor | None, references: Sequence[Any]) -> ObjectMasks:
        """Return the masks to show.

        Args:
            masks: of all objects that results show.
            image: as for `reference`.
            references: what `reference` returned for each object.
        """
