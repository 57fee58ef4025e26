"""What still images ask of a network; SAM 1, SAM 2, SAM 2.1 and SAM 3 answer it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sam_core.sam2 import ImageFeatures, PromptBatch

__all__ = ["ImageFeatures", "ImageNetwork", "PromptBatch"]


class ImageNetwork(Protocol):
    """A promptable segmentation network: weights, and pure functions of one image."""

    @property
    def image_size(self) -> int:
        """Side of the square input in px."""

    @property
    def mask_size(self) -> int:
        """Side m of the low-resolution masks."""

    @property
    def logit_bound(self) -> float:
        """Largest magnitude of the low-resolution logits that are answered, and taken to be refined."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""

    def normalise(self, images: Tensor) -> Tensor:
        """Bring images (B, H, W, 3) uint8 RGB to the input (B, 3, S, S)."""

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images."""

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Return whether the best of three candidates is better than one mask for so many points (a box is two)."""

    def segment(self, features: ImageFeatures, prompts: PromptBatch, *, multimask: bool) -> tuple[Tensor, Tensor]:
        """Predict the masks of B prompts on one image: (B, M, m, m) float32 logits and (B, M) float32 predicted IoU."""

    def points_to_input(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring points (..., 2) xy in px of an image of `size` (H, W) to px of the input."""

    def mask_to_input(self, mask: Tensor) -> Tensor:
        """Bring a mask (H, W) bool of an image to mask logits (1, m, m)."""

    def logits_to_image(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring mask logits (N, m, m) to an image of `size` (H, W) in px: (N, H, W)."""
