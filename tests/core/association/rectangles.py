"""Rectangles as mask logits on a small grid, and detections and tracks that have them: areas are counted by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sam_core.association import ConceptDetections, Track

GRID = 20
NOTHING = torch.full((GRID, GRID), -5.0)  # logits of an empty mask


def box(x_min: int, y_min: int, x_max: int, y_max: int, logit: float = 5.0) -> Tensor:
    """Return mask logits (20, 20) that are positive in a rectangle."""
    logits = NOTHING.clone()
    logits[y_min:y_max, x_min:x_max] = logit
    return logits


def masks(*logits: Tensor) -> Tensor:
    return torch.stack(logits) if logits else torch.zeros(0, GRID, GRID)


def cups(*found: tuple[float, Tensor]) -> ConceptDetections:
    return ConceptDetections("cup", torch.tensor([score for score, _ in found]), masks(*(mask for _, mask in found)))


def track(object_id: int, born: int = 0, **more: Any) -> Track:
    return Track(**{"object_id": object_id, "concept": "cup", "born": born, "score": 0.9, "keep_alive": 30, **more})
