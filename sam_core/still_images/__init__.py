"""Still images: one image in, the masks of any number of prompts out, without a memory."""

from __future__ import annotations

from sam_core.still_images.encoded import EncodedImage
from sam_core.still_images.masks import ImageMasks
from sam_core.still_images.network import ImageNetwork, PromptBatch
from sam_core.still_images.predictor import ImagePredictor
from sam_core.still_images.sam2 import Sam2Images

__all__ = ["EncodedImage", "ImageMasks", "ImageNetwork", "ImagePredictor", "PromptBatch", "Sam2Images"]
