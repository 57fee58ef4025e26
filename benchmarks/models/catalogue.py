"""What cannot be measured of a model: what it is prompted with, what it is for, and the licence of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["CATALOGUE", "FOR_TESTS", "Entry", "Kind"]


class Kind(Enum):
    """What a frame is for a model."""

    TRACK = "track"  # one object is tracked into the next frame
    IMAGE = "still image"  # an image is encoded, and one box is answered
    DETECT = "words"  # an image is encoded, and searched for one phrase whose features are kept


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        model: Name of a file in `config/models`.
        kind: What is measured.
        licence: Of the published weights.
        prompts: What it takes.
        purpose: What to take it for.
        overrides: Hydra overrides.
        as_in: Model whose networks have the same sizes, and so the same figures; None where it is measured itself.
    """

    model: str
    kind: Kind
    licence: str
    prompts: str
    purpose: str
    overrides: tuple[str, ...] = ()
    as_in: str | None = None

    @property
    def key(self) -> str:
        """Name of the row: a model may have several."""
        return " ".join([self.model, *self.overrides, *(["(detector)"] if self.kind is Kind.DETECT else [])])


_OURS = "Apache-2.0, ours, shipped"
_META = "Apache-2.0, Meta"
_SAM3 = "SAM License, Meta"
_OBJECT = "clicks, box, mask"
_STILL = "clicks, box, logits; everything"

CATALOGUE = (
    Entry("sam2_nano", Kind.TRACK, _OURS, _OBJECT, "trying out; a CPU or a small computer, simple scenes, live"),
    Entry("edgetam", Kind.TRACK, _META, _OBJECT, "small computers with a GPU; the least work a frame at 1024 px"),
    Entry(
        "sam2.1_hiera_tiny",
        Kind.TRACK,
        _META,
        _OBJECT,
        "a smaller input where the full one is too slow: a quarter of the pixels",
        ("model.image_size=512",),
    ),
    Entry("sam2.1_hiera_tiny", Kind.TRACK, _META, _OBJECT, "the first choice on a robot with a GPU"),
    Entry("sam2.1_hiera_small", Kind.TRACK, _META, _OBJECT, "a little more trunk than tiny"),
    Entry("sam2.1_hiera_base_plus", Kind.TRACK, _META, _OBJECT, "finer masks on a larger GPU"),
    Entry("sam2.1_hiera_large", Kind.TRACK, _META, _OBJECT, "the best masks of SAM 2.1; recordings, labels"),
    *(
        Entry(f"sam2_hiera_{size}", Kind.TRACK, _META, _OBJECT, "numbers of SAM 2.0", as_in=f"sam2.1_hiera_{size}")
        for size in ("tiny", "small", "base_plus", "large")
    ),
    Entry("sam3", Kind.TRACK, _SAM3, _OBJECT, "with the detector below: both share one trunk, which runs once a frame"),
    Entry("sam3", Kind.DETECT, _SAM3, "words, example boxes", "finding by name, on a GPU"),
    Entry(
        "sam3_nano", Kind.DETECT, _OURS, "words, example boxes", "trying words out: coloured shapes, no camera images"
    ),
    Entry("sam_vit_b", Kind.IMAGE, _META, _STILL, "still images in the library; it does not track"),
    Entry("sam_vit_l", Kind.IMAGE, _META, _STILL, "likewise, finer"),
    Entry("sam_vit_h", Kind.IMAGE, _META, _STILL, "likewise, the finest"),
)

# Structures in miniature without published weights.
FOR_TESTS = ("edgetam_micro", "sam2.1_micro", "sam3_toy", "sam_vit_micro")
