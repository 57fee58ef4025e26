"""How well a concept detector finds what phrases and exemplar boxes name, on held-out synthetic pictures."""

from __future__ import annotations
