"""Segment everything: all masks that a grid of points finds in an image, without the doubtful and the double ones."""

from __future__ import annotations

from sam_core.automatic_masks.found import FoundMask
from sam_core.automatic_masks.generator import AutomaticMasks, Progress
from sam_core.automatic_masks.rle import Rle
from sam_core.automatic_masks.settings import AutomaticMaskSettings

__all__ = ["AutomaticMaskSettings", "AutomaticMasks", "FoundMask", "Progress", "Rle"]
