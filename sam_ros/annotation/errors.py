"""What ends a run with a sentence."""

from __future__ import annotations

__all__ = ["AnnotationError"]


class AnnotationError(ValueError):
    """An input, a prompt file or an output folder cannot be used; the text is a sentence for the person who asked."""
