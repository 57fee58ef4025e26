"""Run-length encoding of a mask: little to keep, and what the COCO tools read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rle:
    """A mask as runs of equal pixels, column by column.

    Attributes:
        size: (H, W) in px.
        runs: lengths of the runs, uint32; the first one is of background and may be 0.
    """

    size: tuple[int, int]
    runs: NDArray[np.uint32]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Rle:
        """Encode a mask (H, W) bool."""
        pixels = mask.ravel(order="F")
        changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        ends = np.concatenate(([0], changes, [pixels.size]))
        runs = np.diff(ends).astype(np.uint32)
        if pixels[0]:
            runs = np.concatenate((np.zeros(1, np.uint32), runs))
        return cls((mask.shape[0], mask.shape[1]), runs)

    @property
    def area(self) -> int:
        """Number of pixels on the mask."""
        return int(self.runs[1::2].sum(dtype=np.int64))

    def decode(self) -> NDArray[np.bool_]:
        """Return the mask (H, W) bool."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(values, self.runs).reshape(self.size, order="F")

    def coco(self) -> dict[str, Any]:
        """Return COCO's uncompressed form, `{"size": [H, W], "counts": [...]}`, which pycocotools reads."""
        return {"size": list(self.size), "counts": self.runs.tolist()}
