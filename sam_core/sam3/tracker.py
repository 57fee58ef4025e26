"""SAM 3's own tracker: SAM 2's network on features of a second pyramid of the detector's trunk.

Source: "SAM 3: Segment Anything with Concepts" (Carion et al., 2025), section 3 "Tracker and video architecture". What
differs from SAM 2: the image encoder, the normalisation, a grid of stride 14, the size of the mask that becomes a
memory (16 times the grid, 1152 px, where the input has 1008), and a mask prompt that is remembered at full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2, SamOutput
from sam_core.sam2.image_encoder import PyramidEncoder
from sam_core.sam2.model import mask_logits
from sam_core.sam2.pixels import normalised
from sam_core.sam3.neck import pyramid
from sam_core.sam3.vit import Vit

_MEAN = _STD = (0.5, 0.5, 0.5)


class TrackerImageEncoder(PyramidEncoder):
    """The trunk, possibly shared with a detector, and the tracker's pyramid.

    Args:
        trunk: the vision transformer.
        channels: channels of every level.
        scales: resolution of each level over the trunk's, from fine to coarse.
        unused_levels: levels at the coarse end that have weights in the checkpoint but are not computed.
    """

    def __init__(self, trunk: Vit, channels: int, scales: Sequence[float], unused_levels: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_levels = len(scales) - unused_levels
        self.sam2_convs = pyramid(scales, trunk.width, channels)

    def levels(self, trunk: Tensor) -> list[Tensor]:
        """Return the maps (B, channels, h_i, w_i), finest first, of the trunk's map (B, width, h, w)."""
        return [level(trunk) for level in self.sam2_convs[: self.num_levels]]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode normalised images (B, 3, S, S)."""
        return self.levels(self.trunk(images))


class Sam3Tracker(Sam2):
    """SAM 3's tracker; arguments as for `Sam2`, with a `TrackerImageEncoder`."""

    @property
    def trunk(self) -> Vit:
        """The vision transformer, which a detector may share."""
        assert isinstance(self.image_encoder, TrackerImageEncoder)
        return self.image_encoder.trunk

    def normalise_picture(self, pictures: Tensor) -> Tensor:
        """Normalise what `resize` returns, to [-1, 1]."""
        return normalised(pictures, self.dtype, _MEAN, _STD)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S); the result has the trunk's map, too."""
        assert isinstance(self.image_encoder, TrackerImageEncoder)
        trunk = self.image_encoder.trunk(images)
        return replace(self._features(self.image_encoder.levels(trunk)), trunk=trunk)

    def adopt_mask(self, features: ImageFeatures, mask: Tensor) -> SamOutput:
        """Take a mask prompt (B, 1, S, S), 0 or 1, as the output, and remember it at its full size."""
        return replace(super().adopt_mask(features, mask), full_size=mask_logits(mask))
