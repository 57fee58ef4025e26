"""The vocabulary: colours, shapes, textures, sizes, their words, and the combinations held out of training.

A phrase is an article, then adjectives, then a noun: "the large striped red ring". A `Concept` is its meaning, and
can be compared with a `Look`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

__all__ = [
    "ARTICLES", "COLOURS", "COLOUR_WORDS", "HELD_OUT", "NAMED_TEXTURES", "PLURALS", "SHAPES", "SHAPE_WORDS", "SIZES",
    "SIZE_WORDS", "TEXTURES", "TEXTURE_WORDS", "THING_WORDS", "Concept", "Look",
]  # fmt: skip

# Hue range in degrees, saturation range, value range.
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 8), (0.75, 1.0), (0.55, 0.95)),
    "orange": ((22, 33), (0.85, 1.0), (0.8, 1.0)),
    "yellow": ((43, 60), (0.65, 1.0), (0.8, 1.0)),
    "green": ((88, 150), (0.5, 1.0), (0.3, 0.85)),
    "cyan": ((174, 188), (0.55, 1.0), (0.65, 1.0)),
    "blue": ((208, 236), (0.6, 1.0), (0.45, 1.0)),
    "purple": ((268, 290), (0.5, 0.9), (0.4, 0.85)),
    "pink": ((318, 338), (0.35, 0.7), (0.85, 1.0)),
    "white": ((0, 360), (0.0, 0.06), (0.92, 1.0)),
    "black": ((0, 360), (0.0, 0.3), (0.02, 0.14)),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "moon", "turtle")
# "pied" (sectors or a patch of another tone) has no word either.
TEXTURES = ("plain", "striped", "dotted", "checkered", "pied")
NAMED_TEXTURES = TEXTURES[:-1]
SIZES = ("small", "medium", "large")

COLOUR_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS}
SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "ball", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "donut"),
    "cross": ("cross", "plus"),
    "heart": ("heart",),
    "moon": ("moon", "crescent"),
    "turtle": ("turtle",),
}
TEXTURE_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
THING_WORDS = ("thing", "object")
ARTICLES = ("", "", "", "a", "the", "every", "each", "all")
PLURALS = {"box": "boxes", "cross": "crosses", "plus": "plus"}


def _held_out() -> frozenset[tuple[str, str]]:
    """Take one or two shapes of every colour and one or two colours of every shape: 16 of the 90 combinations."""
    pairs = product(enumerate(COLOURS), enumerate(SHAPES))
    return frozenset((colour, shape) for (i, colour), (j, shape) in pairs if (i + j) % 6 == 3)


HELD_OUT = _held_out()  # (colour, shape): neither drawn nor named in training


@dataclass(frozen=True)
class Look:
    """What a thing looks like, as far as words go."""

    colour: str
    shape: str
    texture: str
    size: str


@dataclass(frozen=True)
class Concept:
    """The meaning of a phrase: an attribute that is None may be anything."""

    colour: str | None = None
    shape: str | None = None
    texture: str | None = None
    size: str | None = None

    def means(self, look: Look) -> bool:
        """Tell whether a thing of this look is an instance."""
        wanted = (self.colour, self.shape, self.texture, self.size)
        has = (look.colour, look.shape, look.texture, look.size)
        return all(w is None or w == h for w, h in zip(wanted, has, strict=True))

    @property
    def held_out(self) -> bool:
        """Whether it names a combination of colour and shape that training never sees."""
        return (self.colour, self.shape) in HELD_OUT
