"""Errors of the concept detector that a caller can act on."""

from __future__ import annotations


class PhraseError(ValueError):
    """A phrase that names nothing: empty, or nothing left after cleaning."""


class ExemplarError(ValueError):
    """Exemplars that cannot be used: outside the image, malformed, or not supported by the loaded weights."""
