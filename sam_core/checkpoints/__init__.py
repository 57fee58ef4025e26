"""Reading checkpoints, and refusing those that do not fit."""

from __future__ import annotations

from sam_core.checkpoints.load import load_checkpoint
from sam_core.checkpoints.state_dict import read_state_dict

__all__ = ["load_checkpoint", "read_state_dict"]
