"""Names of SAM 1's tensors in Meta's checkpoints and in the Hugging Face layout, and how they map to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sam_core.checkpoints.hugging_face import rename_hugging_face_sam2

# Of the Hugging Face layout; what these leave, the rules of SAM 2's layout rename.
_RULES: tuple[tuple[str, str], ...] = (
    (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
    (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
    (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
    (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
    (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
)
_LINEAR = re.compile(r"\.mlp\.lin([12])\.")
_LAYER = re.compile(r"\.mlp\.layers\.([01])\.")


def as_sam1(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of SAM 1, in Meta's layout or that of Hugging Face, to the names of `sam_core.sam1.Sam1`.

    The MLPs of Meta's transformer blocks name their layers `lin1` and `lin2`; SAM 2's, which are ours, `layers.0` and
    `layers.1`. Unknown names pass through unchanged.
    """
    if any(name.startswith("vision_encoder.layers.") for name in state):
        state = _from_hugging_face(state)
    return {_LINEAR.sub(lambda found: f".mlp.layers.{int(found[1]) - 1}.", name): x for name, x in state.items()}


def as_published(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of `sam_core.sam1.Sam1` to the names of Meta's checkpoints."""
    return {_LAYER.sub(lambda found: f".mlp.lin{int(found[1]) + 1}.", name): x for name, x in values.items()}


def _from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    halfway = {}
    for name, tensor in state.items():
        for pattern, replacement in _RULES:
            name = re.sub(pattern, replacement, name)
        halfway[name] = tensor
    # SAM 2 puts `sam_` before the names of its prompt encoder and mask decoder.
    return {name.removeprefix("sam_"): tensor for name, tensor in rename_hugging_face_sam2(halfway).items()}
