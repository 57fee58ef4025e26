"""Read a mask prompt: one meaning for each kind of number, and a sentence where the meaning is not clear."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam_core.errors import PromptError

__all__ = ["check_mask", "to_array"]


def to_array(values: Any) -> Any:
    """Bring a tensor of any device and dtype to a NumPy array; return everything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def check_mask(mask: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Return a mask prompt as bool (H, W).

    Booleans and integers mean the object where they are not 0, floating-point numbers in [0, 1] where they are above
    0.5. Logits and negative integers could mean several things and are refused.

    Args:
        mask: an array, a tensor, a PIL image or nested lists.
        height: of the image, px.
        width: of the image, px.

    Raises:
        PromptError: a sentence that says what is wrong.
    """
    try:
        array = np.asarray(to_array(mask))
    except (TypeError, ValueError) as error:
        raise PromptError("The mask's rows must be of one length and hold numbers.") from error
    if array.dtype.kind not in "buif":
        raise PromptError(f"A mask is an array of numbers, not {type(mask).__name__} ({array.dtype}).")
    if array.shape != (height, width):
        raise PromptError(
            f"The mask has {' × '.join(map(str, array.shape))} (height × width) px; the image has {height} × {width}."
        )
    chosen = _chosen(array)
    if not chosen.any():
        raise PromptError("The mask is empty: no pixel belongs to the object.")
    return chosen


def _chosen(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Threshold numbers by the meaning of their kind."""
    kind = array.dtype.kind
    if kind in "bu":
        return array != 0
    if kind == "f" and not np.isfinite(array).all():
        raise PromptError("The mask contains a value that is not finite (NaN or infinity).")
    least, most = array.min(), array.max()
    if kind == "i":
        if least < 0:
            raise PromptError(f"The mask is ambiguous: it holds integers down to {least}; use 0 and 1, or booleans.")
        return array != 0
    if least < 0 or most > 1:
        raise PromptError(
            f"The mask is ambiguous: its floating-point numbers go from {least:g} to {most:g}, but only probabilities "
            "in [0, 1] have a meaning. Give logits as `logits > 0`, and 0 and 255 as integers."
        )
    return array > 0.5
