"""Phrases as people type them, made into what SAM 3 was trained on: a short noun phrase, its noun in the singular.

The training phrases look like "yellow school bus" and "striped cat" (SAM 3, Carion et al., 2025, section 1): in lower
case, without an article, quotes or a full stop. One such phrase stands for every instance, so "all red cups" is asked
as "red cup". The rules are English; of a word that they do not know to be a plural nothing is changed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sam_core.sam3.tokenizer import clean

_QUOTES = "\"'`´“”„‟«»‹›‘’‚‛"
_END = ".,;:!?"
_DETERMINERS = frozenset({
    "a", "an", "the", "all", "any", "each", "every", "some", "this", "that", "these", "those", "my", "your", "our",
})  # fmt: skip
# The noun that a phrase is about stands before the first of these: "cups on the table".
_AFTER_NOUN = frozenset({
    "on", "in", "of", "with", "without", "at", "by", "near", "behind", "under", "above", "over", "below", "beside",
    "between", "before", "from", "for", "to", "inside", "outside", "wearing", "holding", "carrying", "that", "which",
    "who",
})  # fmt: skip
# More than one thing, or a number: what the plural says is meant, or its noun is not clear.
_LEFT_ALONE = frozenset({
    "and", "or", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve",
})  # fmt: skip

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "geese": "goose",
    "feet": "foot", "teeth": "tooth", "oxen": "ox", "knives": "knife", "wives": "wife", "lives": "life",
    "leaves": "leaf", "wolves": "wolf", "shelves": "shelf", "loaves": "loaf", "halves": "half", "calves": "calf",
    "scarves": "scarf", "hooves": "hoof", "elves": "elf", "thieves": "thief", "buses": "bus", "lenses": "lens",
    "canvases": "canvas", "gases": "gas", "viruses": "virus", "cactuses": "cactus", "octopuses": "octopus",
    "cacti": "cactus", "fungi": "fungus", "quizzes": "quiz",
    "cookies": "cookie", "movies": "movie", "hoodies": "hoodie", "brownies": "brownie", "zombies": "zombie",
    "smoothies": "smoothie", "selfies": "selfie", "veggies": "veggie", "birdies": "birdie",
    "shoes": "shoe", "horseshoes": "horseshoe", "toes": "toe", "canoes": "canoe", "hoes": "hoe",
}  # fmt: skip
# End in s and are one thing, or have no singular.
_NO_PLURAL = frozenset({
    "glasses", "sunglasses", "eyeglasses", "scissors", "pants", "trousers", "jeans", "shorts", "leggings", "tights",
    "pyjamas", "pajamas", "clothes", "pliers", "tongs", "tweezers", "goggles", "binoculars", "headphones",
    "earphones", "stairs", "news", "series", "species", "lens", "canvas", "atlas", "christmas", "gas", "bias",
    "chaos", "cosmos", "asparagus", "swiss", "overalls", "headquarters",
})  # fmt: skip


@lru_cache(maxsize=1024)
def clean_phrase(text: str) -> str:
    """Return a phrase as the detector is asked for it; the same phrase where it is one already.

    Args:
        text: as a person or a program wrote it, for instance `"the Traffic_Lights"`.

    Returns:
        It in lower case with single spaces, without quotes, underscores, articles and a full stop, its noun in the
        singular: `traffic light`. Empty only where nothing but those was there.
    """
    words = _bare(clean(text)).split()
    while len(words) > 1 and words[0] in _DETERMINERS:
        words = words[1:]
    if _LEFT_ALONE.isdisjoint(words) and not any(word.isdigit() for word in words):
        noun = next((place for place, word in enumerate(words) if word in _AFTER_NOUN and place), len(words)) - 1
        words[noun:] = [singular(words[noun]), *words[noun + 1 :]] if words else []
    return " ".join(words)


def singular(word: str) -> str:
    """Return the singular of an English noun in lower case; the word itself where it may not be a plural."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word in _NO_PLURAL or not re.fullmatch(r"[a-z][a-z-]*s", word) or word.endswith(("us", "is")):
        return word
    for ending, rest in (("sses", "ss"), ("ss", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("oes", "o")):
        if word.endswith(ending):
            return word.removesuffix(ending) + rest
    if word.endswith("ies") and len(word) > 4:
        return word.removesuffix("ies") + "y"
    return word.removesuffix("s")


def _bare(text: str) -> str:
    """Remove underscores, quotes around words, and what ends a sentence."""
    words = (word.strip(_QUOTES) for word in text.replace("_", " ").rstrip(_END).split())
    return " ".join(words).rstrip(_END + " ")
