"""Inputs and outputs of the networks, as small frozen dataclasses of tensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """Encoded images; computed once per frame, shared by all objects.

    Attributes:
        embedding: (B, d, h, w) features at stride 16 (SAM 3: 14), not conditioned on any memory.
        high_res: skips of the mask decoder, (B, d / 8, 4 h, 4 w) and (B, d / 4, 2 h, 2 w); without channels for SAM 1,
            which has none.
        position: (1, d, h, w) encoding of the grid.
        trunk: (B, c, h, w) the trunk's map, from which a detector on the same trunk goes on; None for other networks,
            and where it is not kept.
    """

    embedding: Tensor
    high_res: tuple[Tensor, Tensor]
    position: Tensor
    trunk: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the features in bytes, without `position`, which all images share."""
        tensors = (self.embedding, *self.high_res, self.trunk)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def expand(self, count: int) -> ImageFeatures:
        """Repeat one image's features for `count` objects, without copying."""
        fine, middle = self.high_res
        return ImageFeatures(
            self.embedding.expand(count, -1, -1, -1),
            (fine.expand(count, -1, -1, -1), middle.expand(count, -1, -1, -1)),
            self.position,
        )

    def select(self, index: Tensor | slice) -> ImageFeatures:
        """Take some images of the batch."""
        return ImageFeatures(self.embedding[index], (self.high_res[0][index], self.high_res[1][index]), self.position)


@dataclass(frozen=True)
class PromptBatch:
    """B prompts of one kind, as a network takes them.

    Attributes:
        points: (B, K, 2) float32 xy in px of the network's input. A box is two points, which come first.
        labels: (B, K) int64: 1 positive, 0 negative, 2 and 3 a box's upper left and lower right corner.
        has_box: whether each prompt has a box.
        logits: (B, 1, m, m) float32 mask logits; None for prompts without a mask.
    """

    points: Tensor
    labels: Tensor
    has_box: bool = False
    logits: Tensor | None = None

    def __len__(self) -> int:
        """Return B."""
        return self.points.shape[0]

    def select(self, rows: slice) -> PromptBatch:
        """Take some of the prompts."""
        logits = None if self.logits is None else self.logits[rows]
        return PromptBatch(self.points[rows], self.labels[rows], self.has_box, logits)


@dataclass(frozen=True)
class MemoryTokens:
    """Memories of B objects, ready for memory attention.

    Attributes:
        tokens: (B, L, c) spatial memories that have a place in the image, then other tokens.
        position: (B or 1, L, c) encoding of place and time, added to the keys.
        num_unplaced_tokens: how many of the L tokens, at the end, have no place: those of object pointers.
    """

    tokens: Tensor
    position: Tensor
    num_unplaced_tokens: int


@dataclass(frozen=True)
class SamOutput:
    """Masks of B objects on one frame, M candidates each.

    Attributes:
        masks: (B, M, 4 h, 4 w) float32 logits; -1024 everywhere for an object that is absent.
        raw_masks: the same before absence was applied, in the network's dtype.
        ious: (B, M) predicted IoU.
        best: (B,) index of the candidate that is taken, in general that with the highest predicted IoU.
        low_res: (B, 1, 4 h, 4 w) float32 logits of that candidate.
        pointer: (B, d) object pointer.
        object_score: (B, 1) logit that the object is visible.
        tokens: (B, M or 1, C) output tokens of the candidates, from which object pointers are made.
        full_size: (B, 1, S, S) float32 logits of a mask prompt at the size of the network's input, where the memory is
            made of them rather than of `low_res` (SAM 3).
    """

    masks: Tensor
    raw_masks: Tensor
    ious: Tensor
    best: Tensor
    low_res: Tensor
    pointer: Tensor
    object_score: Tensor
    tokens: Tensor
    full_size: Tensor | None = None

    @property
    def to_remember(self) -> Tensor:
        """The mask logits that the memory of this frame is made of."""
        return self.low_res if self.full_size is None else self.full_size

    @property
    def best_iou(self) -> Tensor:
        """(B,) predicted IoU of the candidate that is taken."""
        return self.ious.gather(1, self.best[:, None])[:, 0]
