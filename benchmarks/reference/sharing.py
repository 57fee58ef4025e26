"""Equal weights in our network and in a reference: from the reference's own file, or by our mapping of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["give_weights", "load_own_layout"]

# Stands in `transformers`' models twice; files may have dropped one of the two.
_TWINS = {"shared_image_embedding.positional_embedding": "prompt_encoder.shared_embedding.positional_embedding"}


@torch.no_grad()
def give_weights(
    values: Mapping[str, Tensor], reference: Any, as_ours: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
) -> None:
    """Copy our weights into a reference, by the mapping of names with which checkpoints are read.

    Each number of the reference is marked, renamed and joined as a file would be, and found again in our layout.

    Args:
        values: our state dict.
        reference: a network of `transformers`.
        as_ours: from the reference's names to ours. What it fills in by itself it fills with zeros.
    """
    layout = reference.state_dict()
    marked, start = {}, 1  # 0 marks what the mapping fills in
    for name, tensor in layout.items():
        marked[name] = torch.arange(start, start + tensor.numel(), dtype=torch.int32).view(tensor.shape)
        start += tensor.numel()
    flat = torch.zeros(start)
    for name, places in as_ours(marked).items():
        flat[places.long()] = values[name].float().cpu()
    for name, tensor in layout.items():
        tensor.copy_(flat[marked[_TWINS.get(name, name)].long()])


def load_own_layout(reference: Any, state: Mapping[str, Tensor]) -> bool:
    """Load a file's tensors under the file's own names, where these are the reference's, so that no name is ours.

    Args:
        reference: a network of another implementation.
        state: what the file holds.

    Returns:
        Whether names and shapes were the reference's; if not, it is unchanged.
    """
    layout = reference.state_dict()
    state = dict(state)
    for one, other in _TWINS.items():
        for name, source in ((one, other), (other, one)):
            if name in layout and name not in state and source in state:
                state[name] = state[source]
    if state.keys() != layout.keys() or any(state[name].shape != tensor.shape for name, tensor in layout.items()):
        return False
    reference.load_state_dict(state, strict=True)
    return True
