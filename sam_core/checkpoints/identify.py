"""Which model a file is really of, told by its tensors' names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

# Names and tensors of each model that is known by name; built when a file does not fit, and not before.
KnownModels = Callable[[], Iterable[tuple[str, Mapping[str, Tensor]]]]

# Parts of names that only the checkpoints of one family have, and the family.
_FAMILIES = (
    ("vision_backbone.trunk.", "SAM 3"),
    ("vision_encoder.backbone.embeddings.", "SAM 3"),
    ("image_encoder.blocks.0.attn.rel_pos_h", "SAM 1"),
    ("vision_encoder.layers.0.attn.rel_pos_h", "SAM 1"),
    ("image_encoder.trunk.body.", "EdgeTAM"),
    ("vision_encoder.backbone.timm_model.", "EdgeTAM"),
    ("image_encoder.trunk.", "SAM 2"),
)


def origin_of(state: Mapping[str, Tensor], asked: str, known: KnownModels) -> str:
    """Say of which model a state dict is, in words that follow "the file"; empty where that cannot be told.

    Args:
        state: of the file, in Meta's layout.
        asked: name of the model that it should have been of.
        known: the models whose names and shapes it is compared with.
    """
    names = [name for name, tensors in known() if same_tensors(tensors, state)]
    if asked in names:
        return f"is of {asked} as it is configured without overrides"
    if names:
        return f"is of {' or '.join(names)}"
    family = next((family for mark, family in _FAMILIES if any(mark in name for name in state)), "")
    return f"is of a {family} model" if family and family != "SAM 2" else ""


def same_tensors(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """Tell whether two state dicts have the same names and shapes."""
    return tensors.keys() == state.keys() and all(state[name].shape == tensor.shape for name, tensor in tensors.items())
