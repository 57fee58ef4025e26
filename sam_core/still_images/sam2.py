"""SAM 2, SAM 2.1 and the tracker of SAM 3 on still images: their prompt encoder and mask decoder without a memory.

Source: "SAM 2: Segment Anything in Images and Videos" (Ravi et al., 2024), section 4: without memories, SAM 2 segments
an image as SAM does. Presence is left out, as in the released image predictor: a prompt on an image always has a mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_core.sam2 import ImageFeatures, Sam2
from sam_core.sam2.model import mask_logits
from sam_core.still_images.network import PromptBatch
from sam_core.streaming.masks import logits_at


class Sam2Images:
    """Answer `ImageNetwork` with the weights of a tracker, which may be used by streams at the same time.

    Args:
        model: SAM 2, SAM 2.1 or SAM 3's tracker, in evaluation mode.
    """

    def __init__(self, model: Sam2) -> None:
        self.model = model

    @property
    def image_size(self) -> int:
        """Side of the square input in px."""
        return self.model.image_size

    @property
    def mask_size(self) -> int:
        """Side m of the low-resolution masks."""
        return self.model.mask_size

    @property
    def logit_bound(self) -> float:
        """Largest magnitude of low-resolution logits that go out or back in."""
        return self.model.logit_bound

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.model.dtype

    def normalise(self, images: Tensor) -> Tensor:
        """Resize and normalise images (B, H, W, 3) uint8 RGB; the aspect ratio is not kept."""
        return self.model.normalise(images)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        return self.model.encode_image(images)

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Return what the model does where an object begins to be tracked."""
        return self.model.uses_multimask(num_points, begins=begins)

    def segment(self, features: ImageFeatures, prompts: PromptBatch, *, multimask: bool) -> tuple[Tensor, Tensor]:
        """Predict the masks of B prompts on one image; see `ImageNetwork`."""
        encoder = self.model.sam_prompt_encoder
        embedding = self.model.embed_without_memory(features).expand(len(prompts), -1, -1, -1)
        sparse = encoder.embed_points(prompts.points, prompts.labels)
        if prompts.points.shape[1] == 0:  # a mask alone has no tokens, not even the one that pads points
            sparse = sparse[:, :0]
        dense, position = encoder.embed_mask(prompts.logits), encoder.dense_position()
        decoded = self.model.sam_mask_decoder(embedding, position, sparse, dense, features.high_res, multimask)
        return decoded.masks.float(), decoded.ious.float()

    def points_to_input(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Stretch points (..., 2) in px of an image of `size` (H, W) to px of the input."""
        return points / points.new_tensor(size[::-1]) * self.image_size

    def mask_to_input(self, mask: Tensor) -> Tensor:
        """Bring a mask (H, W) bool of an image to logits (1, m, m) of -10 to 10."""
        return mask_logits(F.interpolate(mask[None, None].float(), (self.mask_size,) * 2, mode="area")[0])

    def logits_to_image(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize mask logits (N, m, m) to an image of `size` (H, W)."""
        return logits_at(logits, size)
