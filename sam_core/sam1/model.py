"""SAM 1: the weights, and the pure functions of one image.

Source: "Segment Anything" (Kirillov et al., 2023), section 3 and appendix A. Parameter names are those of Meta's
checkpoints, but for the MLPs of transformer blocks (`sam_core.checkpoints.sam1`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.sam1.image_encoder import ImageEncoder
from sam_core.sam1.mask_decoder import MaskDecoder
from sam_core.sam2 import ImageFeatures, PromptBatch
from sam_core.sam2.model import mask_logits
from sam_core.sam2.pixels import normalised, resized
from sam_core.sam2.prompt_encoder import PromptEncoder


class Sam1(nn.Module):
    """SAM 1; answers `sam_core.still_images.ImageNetwork`.

    An image keeps its aspect ratio: its longer side becomes that of the input, which is filled up with zeros at the
    right or at the bottom.

    Args:
        image_encoder: the vision transformer.
        prompt_encoder: embeds prompts.
        mask_decoder: predicts masks.
        image_size: side of the square input in px.
    """

    logit_bound = math.inf  # Meta's `SamPredictor` gives and takes low-resolution logits of any size

    def __init__(
        self, image_encoder: ImageEncoder, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder, image_size: int
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def mask_size(self) -> int:
        """Side m of the low-resolution masks."""
        return 4 * self.prompt_encoder.grid_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.image_encoder.pos_embed.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.image_encoder.pos_embed.dtype

    def size_in_input(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width in px that an image of `size` (H, W) has in the input, whose rest is padding."""
        scale = self.image_size / max(size)
        return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))

    def resize(self, images: Tensor) -> Tensor:
        """Resize images (B, H, W, 3) uint8 RGB to (B, 3, h, w); see `resized`."""
        return resized(images.permute(0, 3, 1, 2), self.size_in_input((images.shape[1], images.shape[2])))

    def normalise(self, images: Tensor) -> Tensor:
        """Resize, normalise and pad images (B, H, W, 3) uint8 RGB to (B, 3, S, S) in the weights' dtype."""
        pictures = normalised(self.resize(images), self.dtype)
        height, width = pictures.shape[-2:]
        return F.pad(pictures, (0, self.image_size - width, 0, self.image_size - height))

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        embedding = self.image_encoder(images)
        none = embedding.new_zeros(embedding.shape[0], 0, 1, 1)
        return ImageFeatures(embedding, (none, none), self.prompt_encoder.dense_position())

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Return whether the best of three candidates is better than one mask: for a lone point."""
        return num_points == 1

    def segment(self, features: ImageFeatures, prompts: PromptBatch, *, multimask: bool) -> tuple[Tensor, Tensor]:
        """Predict the masks of B prompts on one image; see `ImageNetwork`. Only points without a box are padded."""
        encoder = self.prompt_encoder
        pad = prompts.points.shape[1] > 0 and not prompts.has_box
        sparse = encoder.embed_points(prompts.points, prompts.labels, pad=pad)
        dense = encoder.embed_mask(prompts.logits)
        masks, ious = self.mask_decoder(features.embedding, features.position, sparse, dense, multimask=multimask)
        return masks.float(), ious.float()

    def points_to_input(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring points (..., 2) xy in px of an image of `size` (H, W) to px of the input."""
        height, width = self.size_in_input(size)
        return points * points.new_tensor([width / size[1], height / size[0]])

    def mask_to_input(self, mask: Tensor) -> Tensor:
        """Bring a mask (H, W) bool of an image to logits (1, m, m) of -10 to 10; the padding is background."""
        height, width = self.size_in_input((mask.shape[0], mask.shape[1]))
        inner = F.interpolate(mask[None, None].float(), (height, width), mode="area")
        padded = F.pad(inner, (0, self.image_size - width, 0, self.image_size - height))
        return mask_logits(F.interpolate(padded, (self.mask_size,) * 2, mode="area")[0])

    def logits_to_image(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize mask logits (N, m, m) to the input, cut the padding off, and resize to an image of `size` (H, W)."""
        height, width = self.size_in_input(size)
        side = (self.image_size, self.image_size)
        at_input = F.interpolate(logits[:, None], side, mode="bilinear", align_corners=False)[..., :height, :width]
        return F.interpolate(at_input, size, mode="bilinear", align_corners=False)[:, 0]
