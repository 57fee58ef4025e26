"""Start a deep model from a shallower one: new blocks begin as identities.

Source: "Net2Net: Accelerating Learning via Knowledge Transfer" (Chen et al., 2016), section 2.4. A new residual block
adds nothing at first, because the last projection of each of its branches is zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sam_core.errors import CheckpointError
from sam_core.sam2.model import Sam2

__all__ = ["load_shallower"]

_TRUNK = re.compile(r"(image_encoder\.trunk\.blocks\.)(\d+)(\..+)")
_MEMORY = re.compile(r"(memory_attention\.layers\.)(\d+)(\..+)")
_ENDS_OF_BRANCHES = ("attn.proj", "mlp.layers.1", "out_proj", "linear2")


@torch.no_grad()
def load_shallower(model: Sam2, weights: Mapping[str, Tensor]) -> list[str]:
    """Load a model with fewer blocks per stage of the trunk or fewer layers of memory attention, in place.

    The deep model then computes the same as the shallow one. A new layer of memory attention starts with the
    queries and keys of the layer before it, so that it compares the same features.

    Args:
        model: the deep model, with its initial weights.
        weights: those of the shallow one.

    Returns:
        Names of the parameters that are new.

    Raises:
        CheckpointError: the models differ in more than their depth.
    """
    state = model.state_dict()
    blocks = {place: block for block, place in _places(state).items()}
    places = _places(weights)
    moved = {_moved(name, places, blocks): value for name, value in weights.items()}
    wrong = sorted(k for k, v in moved.items() if k not in state or state[k].shape != v.shape)
    new = sorted(state.keys() - moved.keys())
    wrong += [k for k in new if not (_TRUNK.fullmatch(k) or _MEMORY.fullmatch(k))]
    if wrong:
        raise CheckpointError(f"not a shallower version of the model, these parameters do not fit: {wrong[:5]}")
    for name, value in moved.items():
        state[name].copy_(value)
    for name in new:
        before = _MEMORY.sub(lambda found: f"{found[1]}{int(found[2]) - 1}{found[3]}", name)
        if before != name:
            state[name].copy_(state[before])
        if name.rpartition(".")[0].endswith(_ENDS_OF_BRANCHES):
            state[name].zero_()
    return new


def _places(names: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Return the stage, and the place in it, of every block of the trunk: a block that enters a stage projects."""
    names = set(names)
    count = 1 + max((int(found[2]) for found in map(_TRUNK.fullmatch, names) if found), default=-1)
    places: dict[int, tuple[int, int]] = {}
    stage = place = 0
    for block in range(count):
        if f"image_encoder.trunk.blocks.{block}.proj.weight" in names:
            stage, place = stage + 1, 0
        places[block] = stage, place
        place += 1
    return places


def _moved(name: str, places: dict[int, tuple[int, int]], blocks: dict[tuple[int, int], int]) -> str:
    """Return a parameter's name in the deep model; the blocks' places are those of the shallow and the deep one."""
    found = _TRUNK.fullmatch(name)
    return f"{found[1]}{blocks.get(places[int(found[2])], '?')}{found[3]}" if found else name
