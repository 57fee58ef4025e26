"""Detection quality by phrases and exemplar boxes, on held-out synthetic pictures."""

from __future__ import annotations
