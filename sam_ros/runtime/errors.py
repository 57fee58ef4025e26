"""Errors that carry a message for the user."""

from __future__ import annotations

__all__ = ["FatalError", "RefusedError"]


class RefusedError(RuntimeError):
    """A request that cannot be fulfilled. The text is a full sentence for the caller; the node itself is fine."""


class FatalError(ValueError):
    """A node lacks what it cannot run without. `runtime.run` ends the process with this text."""
