"""A network that sees nothing for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sam_core import Tracker


@contextmanager
def blinded(tracker: Tracker) -> Iterator[None]:
    """Let the network say that nothing is there any more."""
    bias = tracker.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.inference_mode():
        bias.fill_(-100.0)
    try:
        yield
    finally:
        with torch.inference_mode():
            bias.copy_(kept)
