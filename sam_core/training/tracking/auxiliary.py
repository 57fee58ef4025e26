"""Readouts for deep supervision, used only in training."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sam_core.sam2.model import Sam2
from sam_core.training.tracking.losses import grid_loss

__all__ = ["AuxiliaryHeads"]


class AuxiliaryHeads(nn.Module):
    """Two linear readouts on the feature grid.

    They predict the object's mask from the memory-conditioned features and from the image side of the decoder's
    transformer, so that both get a gradient that does not pass through the decoder's product of tokens and pixels
    ("Deeply-Supervised Nets", Lee et al., 2015).
    """

    def __init__(self, model: Sam2) -> None:
        super().__init__()
        self.memory = nn.Linear(model.d_model, 1)
        self.decoder = nn.Linear(model.d_model, 1)
        self._image: Tensor | None = None
        model.sam_mask_decoder.transformer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: object, output: tuple[Tensor, Tensor]) -> None:
        self._image = output[1]

    def from_memory(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the readout of (O, d, h, w) features."""
        return grid_loss(self.memory(embedding.permute(0, 2, 3, 1))[..., 0], target)

    def from_decoder(self, target: Tensor) -> Tensor:
        """Return the loss of the readout of the decoder's last call."""
        assert self._image is not None
        side = math.isqrt(self._image.shape[1])
        return grid_loss(self.decoder(self._image)[..., 0].unflatten(1, (side, side)), target)
