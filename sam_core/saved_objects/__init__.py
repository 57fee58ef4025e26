"""Objects that outlive their stream: a tracked object as one small file, looked for again in another stream."""

from __future__ import annotations

from sam_core.saved_objects.files import read_file, remove_leftovers, write_file
from sam_core.saved_objects.format import LARGEST_FILE, SUFFIX, from_bytes, to_bytes
from sam_core.saved_objects.record import SavedObject, check_fit
from sam_core.saved_objects.transfer import load_object, recall, save_object, saved_from

__all__ = [
    "LARGEST_FILE",
    "SUFFIX",
    "SavedObject",
    "check_fit",
    "from_bytes",
    "load_object",
    "read_file",
    "recall",
    "remove_leftovers",
    "save_object",
    "saved_from",
    "to_bytes",
    "write_file",
]
