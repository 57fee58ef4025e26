"""SAM 2: the weights, and the pure functions of one frame. What a stream remembers lives in `sam_core.streaming`.

Source: "SAM 2: Segment Anything in Images and Videos" (Ravi et al., 2024), section 4 and appendix D. Parameter names
are those of Meta's checkpoints.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_core.layers import MLP, SinePositionEncoding, sine_encoding_1d
from sam_core.sam2.features import ImageFeatures, MemoryTokens, SamOutput
from sam_core.sam2.image_encoder import PyramidEncoder
from sam_core.sam2.mask_decoder import MaskDecoder
from sam_core.sam2.memory_attention import MemoryAttention
from sam_core.sam2.memory_encoder import MemoryEncoder
from sam_core.sam2.pixels import normalised, resized
from sam_core.sam2.prompt_encoder import PromptEncoder

# Mask logit of an object that is not in the image.
ABSENT_LOGIT = -1024.0
# A mask given as prompt becomes logits of -10 and +10; the memory encoder's input has the same range.
_MASK_SCALE, _MASK_BIAS = 20.0, -10.0


class Sam2(nn.Module):
    """SAM 2 or SAM 2.1.

    Args:
        image_encoder: trunk and neck.
        memory_attention: conditions a frame's features on memories.
        memory_encoder: makes a memory of a frame and a mask.
        prompt_encoder: embeds prompts.
        mask_decoder: predicts masks.
        image_size: side of the square input in px.
        d_model: channels of the features.
        num_memories: spatial memories per object: conditioning frames count as one place in time, then the last
            `num_memories` - 1 frames.
        max_object_pointers: longest reach of object pointers in frames; also the unit of their time encoding.
        pointer_time_encoding: encode how old a pointer is (SAM 2.1); SAM 2.0 adds nothing.
        no_object_memory: learnt embedding added to the memory of a frame where the object is absent (SAM 2.1).
        multimask_for_clicks: predict three candidates, of which the best is taken, where a single click begins an
            object (SAM 2 and 2.1), rather than one mask.
        multimask_for_tracking: the same where an object is tracked.
        multimask_for_masks: the same for the object pointer that a mask prompt leaves.
    """

    logit_bound = 32.0  # of low-resolution logits that go out or back in as a prompt, as in Meta's predictors

    def __init__(
        self,
        image_encoder: PyramidEncoder,
        memory_attention: MemoryAttention,
        memory_encoder: MemoryEncoder,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        image_size: int,
        d_model: int,
        num_memories: int = 7,
        max_object_pointers: int = 16,
        pointer_time_encoding: bool = True,
        no_object_memory: bool = True,
        multimask_for_clicks: bool = True,
        multimask_for_tracking: bool = True,
        multimask_for_masks: bool = False,
    ) -> None:
        super().__init__()
        memory_dim = memory_encoder.memory_dim
        if d_model % memory_dim:
            raise ValueError(f"d_model {d_model} must be a multiple of the memory width {memory_dim}.")
        self.image_size = image_size
        self.d_model = d_model
        self.memory_dim = memory_dim
        self.num_memories = num_memories
        self.max_object_pointers = max_object_pointers
        self.multimask_for_clicks = multimask_for_clicks
        self.multimask_for_tracking = multimask_for_tracking
        self.multimask_for_masks = multimask_for_masks

        self.image_encoder = image_encoder
        self.memory_attention = memory_attention
        self.memory_encoder = memory_encoder
        self.sam_prompt_encoder = prompt_encoder
        self.sam_mask_decoder = mask_decoder
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.obj_ptr_proj = MLP(d_model, d_model, d_model, num_layers=3)
        self.obj_ptr_tpos_proj = nn.Linear(d_model, memory_dim) if pointer_time_encoding else None

        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(num_memories, 1, 1, memory_dim))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, d_model))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, d_model))  # in the checkpoints; unused by SAM 2
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, d_model))
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, memory_dim)) if no_object_memory else None
        for embedding in (self.maskmem_tpos_enc, self.no_mem_embed, self.no_mem_pos_enc, self.no_obj_ptr):
            nn.init.trunc_normal_(embedding, std=0.02)
        if self.no_obj_embed_spatial is not None:
            nn.init.trunc_normal_(self.no_obj_embed_spatial, std=0.02)

        self.image_position = SinePositionEncoding(d_model)
        self.memory_position = SinePositionEncoding(memory_dim)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_mem_embed.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype, and so the networks'."""
        return self.no_mem_embed.dtype

    @property
    def feature_size(self) -> int:
        """Side of the feature grid."""
        return self.sam_prompt_encoder.grid_size

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks: four times the grid's."""
        return 4 * self.feature_size

    @property
    def memory_mask_size(self) -> int:
        """Side of the masks that the memory encoder takes: the input's, but 1152 px for the 1008 px of SAM 3."""
        return self.feature_size * self.memory_encoder.mask_stride

    @property
    def memory_shape(self) -> tuple[int, ...]:
        """Shape (c, h, w) of one frame's spatial memory."""
        return self.memory_dim, self.feature_size, self.feature_size

    def feature_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Return the (C, H, W) of one image's features: embedding, fine skip, middle skip."""
        side, width = self.feature_size, self.d_model
        return (width, side, side), (width // 8, 4 * side, 4 * side), (width // 4, 2 * side, 2 * side)

    # --- image -------------------------------------------------------------------------------------------------

    def resize(self, images: Tensor) -> Tensor:
        """Resize images (B, H, W, 3) uint8 RGB to pictures (B, 3, S, S) of the encoder's size; see `resized`."""
        return resized(images.permute(0, 3, 1, 2), (self.image_size,) * 2)

    def normalise(self, images: Tensor) -> Tensor:
        """Resize and normalise images (B, H, W, 3) uint8 RGB as the encoder expects them.

        Returns:
            (B, 3, S, S) in the weights' dtype, channels last.
        """
        return self.normalise_picture(self.resize(images))

    def normalise_picture(self, pictures: Tensor) -> Tensor:
        """Normalise what `resize` returns."""
        return normalised(pictures, self.dtype)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        return self._features(self.image_encoder(images))

    def _features(self, levels: list[Tensor]) -> ImageFeatures:
        fine, middle, coarse = levels
        decoder = self.sam_mask_decoder
        high_res = (decoder.conv_s0(fine), decoder.conv_s1(middle))
        return ImageFeatures(coarse, high_res, self.image_position(coarse))

    # --- memory ------------------------------------------------------------------------------------------------

    def embed_without_memory(self, features: ImageFeatures) -> Tensor:
        """Return the (B, d, h, w) embedding of a frame on which an object begins: no memory attention."""
        return features.embedding + self.no_mem_embed[0, 0, :, None, None]

    def assemble_memory(self, spatial: Tensor, t_pos: Tensor, pointers: Tensor, distances: Tensor) -> MemoryTokens:
        """Line up what is remembered of B objects, with its place and time.

        Args:
            spatial: (B, S, c, h, w) spatial memories, any float dtype.
            t_pos: (B or 1, S) integer place in time: 0 for a conditioning frame, then 1 (oldest) to
                `num_memories` - 1 (the frame before this one).
            pointers: (B, P, d) object pointers.
            distances: (B or 1, P) how many frames ago each pointer was made.

        Returns:
            The tokens: S maps of h * w tokens, then P pointers of d / c tokens each.
        """
        batch = spatial.shape[0]
        pointer_tokens, pointer_position = self._pointer_tokens(pointers, distances)
        map_tokens = spatial.flatten(3).transpose(2, 3).reshape(batch, -1, self.memory_dim)
        tokens = torch.cat((map_tokens.to(self.dtype), pointer_tokens), dim=1)
        grid = self.memory_position(spatial[:, 0].to(self.dtype)).flatten(2).transpose(1, 2)  # (1, hw, c)
        map_position = (grid[:, None] + self.memory_time(t_pos)).flatten(1, 2)
        rows = max(map_position.shape[0], pointer_position.shape[0])
        position = torch.cat((map_position.expand(rows, -1, -1), pointer_position.expand(rows, -1, -1)), dim=1)
        return MemoryTokens(tokens, position, pointer_tokens.shape[1])

    def memory_time(self, t_pos: Tensor) -> Tensor:
        """Encode the places in time (B or 1, S) of spatial memories; returns (B or 1, S, 1, c)."""
        return self.maskmem_tpos_enc[:, 0][self.num_memories - 1 - t_pos]

    def _pointer_tokens(self, pointers: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Cut pointers (B, P, d) into tokens (B, P d / c, c), and encode how old they are, (B or 1, P d / c, c)."""
        pieces = self.d_model // self.memory_dim
        tokens = pointers.to(self.dtype).unflatten(-1, (pieces, self.memory_dim)).flatten(1, 2)
        if self.obj_ptr_tpos_proj is None:
            return tokens, tokens.new_zeros(1, tokens.shape[1], self.memory_dim)
        age = distances.float() / (self.max_object_pointers - 1)
        encoded = self.obj_ptr_tpos_proj(sine_encoding_1d(age, self.d_model).to(self.dtype))  # (B or 1, P, c)
        return tokens, encoded.repeat_interleave(pieces, dim=1)

    def embed_with_memory(self, features: ImageFeatures, memory: MemoryTokens) -> Tensor:
        """Condition a frame (1 or B images) on the memories of B objects; returns (B, d, h, w)."""
        return self.memory_attention(features.embedding, features.position, memory)

    def encode_memory(
        self, features: ImageFeatures, low_res: Tensor, object_score: Tensor, from_prompt: bool
    ) -> Tensor:
        """Make memories of a frame.

        Args:
            features: the frame's features, 1 or B images.
            low_res: (B, 1, m, m) mask logits of any size; those of `memory_mask_size` are not resized.
            object_score: (B, 1) logits.
            from_prompt: the masks answer a prompt: they are binarised (outside of training), as the user saw them.

        Returns:
            (B, c, h, w) spatial memories.
        """
        logits = low_res.float()
        if logits.shape[-1] != self.memory_mask_size:
            logits = _resized(_resized(logits, self.image_size), self.memory_mask_size, antialias=True)
        binarise = from_prompt and not self.training
        mask = ((logits > 0).float() if binarise else logits.sigmoid()) * _MASK_SCALE + _MASK_BIAS
        memory = self.memory_encoder(features.embedding, mask.to(self.dtype))
        if self.no_obj_embed_spatial is not None:
            absent = (object_score <= 0).to(memory.dtype)[:, :, None, None]
            memory = memory + absent * self.no_obj_embed_spatial[:, :, None, None]
        return memory

    def uses_multimask(self, num_points: int, *, begins: bool) -> bool:
        """Tell whether three candidates are predicted rather than one mask: at most one point, and no other hint.

        Args:
            num_points: points of the prompt, two for a box; 0 where the object is tracked.
            begins: whether the object has no memory yet.
        """
        return num_points <= 1 and (self.multimask_for_clicks if begins else self.multimask_for_tracking)

    # --- masks -------------------------------------------------------------------------------------------------

    def decode(
        self,
        embedding: Tensor,
        features: ImageFeatures,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        multimask: bool,
        alternatives: bool = False,
    ) -> SamOutput:
        """Predict the masks of B objects.

        Args:
            embedding: (B, d, h, w) of `embed_without_memory` or `embed_with_memory`.
            features: the same frame's features, 1 or B images.
            points: (B, K, 2) xy in px of the model's input; none at all is encoded as one padding point.
            labels: (B, K) 1 positive, 0 negative, 2 and 3 a box's corners, -1 padding.
            mask: (B, 1, 4 h, 4 w) logits of an earlier mask of this frame.
            multimask: three candidates rather than one mask, of which that with the highest predicted IoU is taken.
            alternatives: where one mask is predicted, return the three candidates behind it; the one is taken.

        Returns:
            Masks, their predicted IoU, object pointers and presence.
        """
        encoder = self.sam_prompt_encoder
        if points is None or labels is None:
            sparse = encoder.no_points(embedding.shape[0])
        else:
            sparse = encoder.embed_points(points, labels)
        dense, position = encoder.embed_mask(mask), encoder.dense_position()
        decoded = self.sam_mask_decoder(embedding, position, sparse, dense, features.high_res, multimask, alternatives)
        visible = decoded.object_score > 0  # (B, 1)
        masks = torch.where(visible[:, :, None, None], decoded.masks.float(), ABSENT_LOGIT)
        best = decoded.ious.argmax(-1)
        if alternatives and not multimask:
            best = torch.zeros_like(best)
        token = _chosen(decoded.tokens, best)
        pointer = self._pointer_or_absent(self.obj_ptr_proj(token), visible)
        low_res = _chosen(masks, best)[:, None]
        score = decoded.object_score
        return SamOutput(masks, decoded.masks, decoded.ious, best, low_res, pointer, score, decoded.tokens)

    def take(self, output: SamOutput, best: Tensor) -> SamOutput:
        """Return the output with other candidates, of index `best` (B,), and the object pointers of these."""
        token = _chosen(output.tokens, best)
        pointer = self._pointer_or_absent(self.obj_ptr_proj(token), output.object_score > 0)
        return replace(output, best=best, low_res=_chosen(output.masks, best)[:, None], pointer=pointer)

    def adopt_mask(self, features: ImageFeatures, mask: Tensor) -> SamOutput:
        """Take a mask prompt as the output itself; the decoder runs only for the object pointer.

        Args:
            features: the frame's features, 1 or B images.
            mask: (B, 1, S, S), 0 or 1.

        Returns:
            One mask of logits -10 and +10, of predicted IoU 1.
        """
        mask = mask.float()
        low_res = _resized(mask_logits(mask), self.mask_size, antialias=True)
        as_prompt = _resized(self.mask_downsample(mask.to(self.dtype)), self.mask_size, antialias=True)
        embedding = features.embedding.expand(mask.shape[0], -1, -1, -1)
        decoded = self.decode(embedding, features, mask=as_prompt, multimask=self.multimask_for_masks)
        visible = mask.flatten(1).any(-1, keepdim=True)
        return SamOutput(
            masks=low_res,
            raw_masks=low_res,
            ious=mask.new_ones(mask.shape[0], 1),
            best=torch.zeros(mask.shape[0], dtype=torch.long, device=mask.device),
            low_res=low_res,
            pointer=self._pointer_or_absent(decoded.pointer, visible),
            object_score=visible.float() * _MASK_SCALE + _MASK_BIAS,
            tokens=decoded.tokens,
        )

    def _pointer_or_absent(self, pointer: Tensor, visible: Tensor) -> Tensor:
        return torch.where(visible, pointer, self.no_obj_ptr)


def mask_logits(mask: Tensor) -> Tensor:
    """Turn a mask of 0 and 1 into logits of -10 and +10, float32."""
    return mask.float() * _MASK_SCALE + _MASK_BIAS


def _resized(maps: Tensor, side: int, *, antialias: bool = False) -> Tensor:
    """Resize square maps (B, C, m, m) bilinearly to another side, where it is another."""
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False, antialias=antialias)


def _chosen(candidates: Tensor, best: Tensor) -> Tensor:
    """Take of candidates (B, M, ...) those of index `best` (B,); where there is one, that: (B, ...)."""
    if candidates.shape[1] == 1:
        return candidates[:, 0]
    return candidates[torch.arange(best.shape[0], device=best.device), best]
