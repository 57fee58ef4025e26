"""Which reference a model and its file are compared with.

A file in the layout of the reference is loaded there under its own names, so that none of our tables of names is
between the file and the reference; otherwise the reference is given our weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.reference.peers import MissingPeerError
from benchmarks.verify.image_references import HuggingFaceSam1, OfficialSam1
from benchmarks.verify.side import Reference
from benchmarks.verify.source import Source
from benchmarks.verify.stream_references import EdgeTam, HuggingFaceSam2, OfficialSam2, Sam3
from sam_core.sam1 import Sam1
from sam_core.sam2 import Sam2

__all__ = ["reference_side"]


def reference_side(source: Source) -> Reference:
    """Build the best reference that is installed: the one of the file's own layout if possible.

    Raises:
        MissingPeerError: none is installed, or none is for this model; the message is a sentence.
    """
    reasons = []
    for kind, package in _kinds(source):
        try:
            side: Reference = kind(source)
        except MissingPeerError as error:
            reasons.append(f"{error}; pip install {package}")
            continue
        return side
    raise MissingPeerError(f"There is no reference for {source.model} here: {', and '.join(reasons)}.")


def _kinds(source: Source) -> Sequence[tuple[Any, str]]:
    """List the references that know a model, best first, and the packages that they come with."""
    ours = source.ours
    if isinstance(ours, Sam1):
        kinds = [(OfficialSam1, "segment-anything"), (HuggingFaceSam1, "transformers")]
    elif source.model.startswith("edgetam"):
        return [(EdgeTam, "transformers timm")]
    elif source.model.startswith("sam3"):
        return [(Sam3, "transformers")]
    else:
        assert isinstance(ours, Sam2)
        kinds = [(OfficialSam2, "sam2"), (HuggingFaceSam2, "transformers")]
    return kinds[::-1] if source.is_hugging_face else kinds
