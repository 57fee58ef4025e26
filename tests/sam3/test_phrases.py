"""Phrases as people type them, and what the detector is asked for."""

from __future__ import annotations

import pytest

from sam_core.sam3.phrases import clean_phrase, singular

TYPED = {
    "yellow cup": "yellow cup",
    "Yellow  CUP ": "yellow cup",
    '"yellow cup"': "yellow cup",
    "'yellow cup'": "yellow cup",
    "“yellow cup”": "yellow cup",
    "the 'yellow' cup.": "yellow cup",
    "yellow_cup": "yellow cup",
    "__traffic_light__": "traffic light",
    "a yellow cup": "yellow cup",
    "An Apple": "apple",
    "all the red cups": "red cup",
    "every person": "person",
    "red cups": "red cup",
    "cups on the tables": "cup on the tables",
    "people with glasses": "person with glasses",
    "boxes of cookies": "box of cookies",
    "pairs of scissors": "pair of scissors",
    "person's hat": "person's hat",
    "t-shirts": "t-shirt",
    "fire hydrants?": "fire hydrant",
    "cups and plates": "cups and plates",
    "two cups": "two cups",
    "3 dogs": "3 dogs",
    "the": "the",
    "on the left": "on the left",
    "U.S.A.": "u.s.a",
    "黄色いカップ": "黄色いカップ",
    "rote Becher": "rote becher",
    "&quot;cup&quot;": "cup",
    "": "",
    ' "\'" _ . ': "",
}


@pytest.mark.parametrize("text", TYPED, ids=repr)
def test_phrases_are_cleaned(text: str) -> None:
    assert clean_phrase(text) == TYPED[text]


@pytest.mark.parametrize("text", TYPED, ids=repr)
def test_a_clean_phrase_stays(text: str) -> None:
    assert clean_phrase(TYPED[text]) == TYPED[text]


SINGULARS = """
cup/cups box/boxes watch/watches brush/brushes dress/dresses cherry/cherries tie/ties pie/pies cookie/cookies
tomato/tomatoes shoe/shoes canoe/canoes glove/gloves knife/knives leaf/leaves house/houses vase/vases nose/noses
rose/roses horse/horses bus/buses lens/lenses person/people woman/women child/children mouse/mice tooth/teeth key/keys
toy/toys photo/photos bicycle/bicycles bottle/bottles fence/fences orange/oranges page/pages cable/cables cactus/cacti
t-shirt/t-shirts
"""
NO_PLURALS = """
bus gas lens canvas cactus octopus iris tennis chess grass scissors glasses jeans news sheep fish dice x s
"""


@pytest.mark.parametrize("pair", SINGULARS.split())
def test_singulars(pair: str) -> None:
    one, many = pair.split("/")
    assert singular(many) == singular(one) == one


@pytest.mark.parametrize("word", NO_PLURALS.split())
def test_what_is_no_plural_stays(word: str) -> None:
    assert singular(word) == word
