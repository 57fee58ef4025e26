"""What a file holds of an object, and whether that fits to a tracker."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sam_core.errors import SavedObjectError
from sam_core.streaming import ObjectMemory, Tracker
from sam_core.streaming.postprocessing import REFERENCE_SHAPES

__all__ = ["SavedObject", "check_fit"]

_SHOWN_DIGITS = 12  # of a digest, in a message


@dataclass(frozen=True, eq=False)
class SavedObject:
    """A saved object.

    Attributes:
        object_id: its id in the stream that it comes from.
        memory: its label, conditioning memories and references.
        model: name of the model's configuration.
        weights: digest of the model's weights (`Tracker.weights_digest`).
        side: side of the model's square input in px.
        image_size: (H, W) of the newest camera image in px; zeros where there was none.
        date: when it was saved, in UTC as in ISO 8601.
        concept: key of the concept that found it; empty for none.
    """

    object_id: int
    memory: ObjectMemory
    model: str
    weights: str
    side: int
    image_size: tuple[int, int]
    date: str
    concept: str = ""


def check_fit(saved: SavedObject, tracker: Tracker) -> None:
    """Refuse an object whose memories another network made.

    Raises:
        SavedObjectError: the model, its weights, the size of its input or a tensor's shape differ; the text says how.
    """
    if saved.model != tracker.name:
        raise SavedObjectError(f"It was saved with the model {saved.model}; this tracker is {tracker.name}.")
    if saved.weights != tracker.weights_digest:
        raise SavedObjectError(
            f"It was saved with other weights of {saved.model} (digest {saved.weights[:_SHOWN_DIGITS]}, here "
            f"{tracker.weights_digest[:_SHOWN_DIGITS]}): memories are of use to the checkpoint alone that made them."
        )
    if saved.side != tracker.image_size:
        raise SavedObjectError(
            f"It was saved with a model input of {saved.side} px; this tracker's is {tracker.image_size} px "
            "(model.image_size)."
        )
    channels, *places = tracker.model.memory_shape
    wanted = (prod(places), channels), (tracker.model.d_model,)
    found = tuple(saved.memory.spatial.shape[1:]), tuple(saved.memory.pointers.shape[1:])
    if found != wanted:
        raise SavedObjectError(f"Its memories have the shapes {found}; this tracker's have {wanted}.")
    for name, reference in saved.memory.references.items():
        if REFERENCE_SHAPES.get(name) != tuple(reference.shape):
            raise SavedObjectError(
                f"Its reference {name!r:.60} has the shape {tuple(reference.shape)}; known are {REFERENCE_SHAPES}."
            )
