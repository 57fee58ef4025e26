"""What the node says instead of doing what it was asked to."""

from __future__ import annotations

__all__ = ["RefusedError"]


class RefusedError(RuntimeError):
    """Say in a full sentence why something is not done: told to the caller, and no fault of the node."""
