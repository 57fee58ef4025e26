"""The parameters of the states of tracks, of events, and of saved objects."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from sam_core import TrackRules

__all__ = ["TRACK_DESCRIPTORS", "track_rules_of"]

_IMAGES = [IntegerRange(from_value=1, to_value=100_000)]

TRACK_DESCRIPTORS: dict[str, ParameterDescriptor] = {
    "occluded_after": ParameterDescriptor(
        description="Images in a row without a tracked object after which it is occluded.", integer_range=_IMAGES
    ),
    "lost_after": ParameterDescriptor(
        description="Seconds without an object, by the images' stamps, after which an occluded one is lost.",
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1e6)],
    ),
    "found_after": ParameterDescriptor(
        description="Images in a row with an occluded or lost object after which it is tracked again.",
        integer_range=_IMAGES,
    ),
    "events_kept": ParameterDescriptor(
        description="Newest events that are kept for late subscribers of ~/events and for ~/list_events.",
        read_only=True,
        integer_range=[IntegerRange(from_value=1, to_value=1000)],
    ),
    "objects_folder": ParameterDescriptor(
        description="Folder for the files of ~/save_objects, ~/load_objects and autosave; it is made when the node is "
        "configured. Empty: objects are neither saved nor loaded.",
        read_only=True,
    ),
    "autosave": ParameterDescriptor(
        description="Seconds from one save of all objects to the next, in objects_folder/autosave. When the node is "
        "configured again, also after a crash, they are looked for under their ids. 0: never.",
        read_only=True,
        floating_point_range=[FloatingPointRange(from_value=0.0, to_value=3600.0)],
    ),
}


def track_rules_of(parameters: Any) -> TrackRules:
    """Return the rules that a tracker's parameters set; stamps are in ns."""
    return TrackRules(parameters.occluded_after, parameters.lost_after * 1e9, parameters.found_after)
