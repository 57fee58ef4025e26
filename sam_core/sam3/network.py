"""The whole network of SAM 3's detector: image features once, then any number of prompts on them.

"SAM 3: Segment Anything with Concepts" (Carion et al., 2025), section 3. Module names are the released checkpoints'.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sam_core.sam3.decoder import Decoder
from sam_core.sam3.fusion import FusionEncoder
from sam_core.sam3.geometry import GeometryEncoder, GeometryPrompts
from sam_core.sam3.neck import ImageFeatures, VisionBackbone
from sam_core.sam3.scoring import DotProductScoring
from sam_core.sam3.segmentation import SegmentationHead
from sam_core.sam3.text import PromptTokens, TextEncoder


@dataclass(frozen=True)
class Grounding:
    """What the network says about B prompts on one image, for Q queries each.

    Attributes:
        logits: (B, Q) class logits, float32.
        presence: (B,) logits that the concept is in the image, float32.
        boxes: (B, Q, 4) centre x, y, width, height in [0, 1], float32.
        queries: (B, Q, C) features of the queries.
        image: (B, h * w, C) image tokens, fused with the prompt.
        prompt: the B prompts.
    """

    logits: Tensor
    presence: Tensor
    boxes: Tensor
    queries: Tensor
    image: Tensor
    prompt: PromptTokens

    def scores(self) -> Tensor:
        """Return each instance's class probability times the concept's presence: (B, Q) in [0, 1]."""
        return self.logits.sigmoid() * self.presence.sigmoid()[:, None]


class Backbone(nn.Module):
    """The image and the text encoder side by side."""

    def __init__(self, vision_backbone: VisionBackbone, language_backbone: TextEncoder) -> None:
        super().__init__()
        self.vision_backbone = vision_backbone
        self.language_backbone = language_backbone


class DetectionTransformer(nn.Module):
    """The fusion encoder and the decoder side by side."""

    def __init__(self, encoder: FusionEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


class ConceptNetwork(nn.Module):
    """SAM 3's detector without its pre- and post-processing; inference only.

    Args:
        backbone: image and text encoders.
        geometry_encoder: exemplars to prompt tokens.
        transformer: fusion encoder and decoder.
        segmentation_head: masks.
        dot_prod_scoring: class scores.
    """

    def __init__(
        self,
        backbone: Backbone,
        geometry_encoder: GeometryEncoder,
        transformer: DetectionTransformer,
        segmentation_head: SegmentationHead,
        dot_prod_scoring: DotProductScoring,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.geometry_encoder = geometry_encoder
        self.transformer = transformer
        self.segmentation_head = segmentation_head
        self.dot_prod_scoring = dot_prod_scoring

    @property
    def image_size(self) -> int:
        """Side in pixels of the square image that the network takes."""
        return self.backbone.vision_backbone.trunk.image_size

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, image_size, image_size)."""
        return self.backbone.vision_backbone(images)

    def encode_text(self, ids: Tensor) -> PromptTokens:
        """Encode token ids (B, L), padded with 0."""
        return self.backbone.language_backbone(ids)

    def ground(self, features: ImageFeatures, text: PromptTokens, exemplars: GeometryPrompts) -> Grounding:
        """Find what B prompts name in one image.

        Args:
            features: of one image.
            text: words of B prompts.
            exemplars: exemplars of the same B prompts.
        """
        coarsest = features.levels[-1]
        prompt = text + self.geometry_encoder(exemplars, coarsest, features.position)
        return self.ground_prompt(features, prompt)

    def ground_prompt(self, features: ImageFeatures, prompt: PromptTokens) -> Grounding:
        """Find what B encoded prompts name in the one image of `features`."""
        coarsest = features.levels[-1]
        grid = (coarsest.shape[-2], coarsest.shape[-1])
        position = features.position.flatten(2).transpose(1, 2)
        image = self.transformer.encoder(coarsest.flatten(2).transpose(1, 2), position, prompt)
        found = self.transformer.decoder(image, position, prompt, grid)
        logits = self.dot_prod_scoring(found.queries, prompt)
        return Grounding(logits, found.presence, found.boxes, found.queries, image, prompt)

    def masks(
        self, features: ImageFeatures, grounding: Grounding, index: int, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make the masks of one prompt's queries: apart from `ground`, for most queries find nothing.

        Args:
            features: of the image that was grounded.
            grounding: of B prompts.
            index: of the prompt.
            queries: (N,) indices of its queries.

        Returns:
            Mask logits (N, h, w) of the queries, and (h, w) of the whole concept, at the finest level's resolution.
        """
        one = slice(index, index + 1)
        prompt = PromptTokens(grounding.prompt.tokens[one], grounding.prompt.valid[one])
        pixels, semantic = self.segmentation_head(features.levels, grounding.image[one], prompt)
        return self.segmentation_head.mask_predictor(grounding.queries[index, queries], pixels[0]), semantic[0]
