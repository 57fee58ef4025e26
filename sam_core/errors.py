"""Errors that a caller can act on; every message is a full sentence for the operator."""

from __future__ import annotations


class PromptError(ValueError):
    """A prompt that cannot be applied: empty, outside the image, contradictory."""


class StampError(PromptError):
    """A prompt for a frame that is no longer, or not yet, at hand."""


class CapacityError(RuntimeError):
    """One object more than the stream was opened for."""


class UnknownObjectError(LookupError):
    """An object id that the stream does not track."""


class ObjectIdError(ValueError):
    """An id for an object that another one has, or that is none."""


class SavedObjectError(ValueError):
    """A file of a saved object that cannot be written or read, or does not fit the model."""


class NoFrameError(RuntimeError):
    """A prompt before the stream has seen any frame."""


class ImageError(ValueError):
    """An image that is not (H, W, 3) uint8, or is empty."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit the model."""
