"""The tokenizer against `transformers`' CLIPTokenizer, built from the shipped merges."""

from __future__ import annotations

import gzip
import hashlib
import html
import random
import unicodedata
from typing import Any

import ftfy
import pytest

from sam_core.sam3.tokenizer import VOCABULARY_FILE, Tokenizer, clean

START, END = 49406, 49407

WRITTEN = [
    "",
    " ",
    "\t\n",
    "yellow cup",
    "  Yellow   CUP ",
    "a person's hat",
    "they're isn't I'll we've I'd I'm",
    "THEY'RE ISN'T",
    "rock 'n' roll",
    "''''s",
    "3 cats and 2 dogs",
    "1234567890",
    "iphone13pro",
    "x86_64",
    "snake_case_name",
    "hello!!! what?? ...",
    "!",
    "!!",
    "!?!?",
    "a!b",
    "#@$%^&*()",
    "<b>bold</b>",
    "a & b",
    "a &amp; b &lt;c&gt;",
    "&amp;amp;amp;",
    "x <y> &amp;amp;lt; z",
    "!\u2600 and !\u00b0",
    "&eacute;t&eacute;",
    "caf\u00e9",
    "cafe\u0301",
    "\u00c9T\u00c9 \u00c0 la MER",
    "stra\u00dfe STRASSE",
    "\u0130stanbul",
    "na\u00efve co\u00f6peration",
    "schöner gelber Becher",
    "красная машина",
    "ΚΌΚΚΙΝΟ αυτοκίνητο",
    "黄色いカップ",
    "红色的汽车",
    "노란 컵",
    "كوب أصفر",
    "כוס צהובה",
    "पीला कप",
    "ถ้วยสีเหลือง",
    "kırmızı araba",
    "đèn giao thông màu đỏ",
    "\U0001f600\U0001f697 car",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "flag \U0001f1eb\U0001f1f7",
    "\u2192 arrow \u2190",
    "x\u00b2 + y\u00b3",
    "\u00bd cup",
    "\u2162 \u2163 roman",
    "\u0661\u0662\u0663",
    "en\u2013dash em\u2014dash",
    "\u201cquoted\u201d \u2018single\u2019",
    "no\u00a0break\u2003em space",
    "zero\u200bwidth",
    "soft\u00adhyphen",
    "\ufb01ne \ufb02ow ligatures",
    "\uff26\uff55\uff4c\uff4c width",
    "schÃ¶n mojibake",
    "donâ€™t",
    "tab\tand\nnewline",
    "http://example.com/a?b=c&d=e",
    "name@example.org",
    "C++ and C#",
    "state-of-the-art",
    "e.g. i.e. etc.",
    "50% off $9.99",
    "O'Brien's",
    "d'or l'eau qu'il",
    "\U0001d400\U0001d401 math letters",
    "a" * 300,
    "1" * 60,
    "!" * 100,
    "word " * 80,
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis " * 4,
    "\U0001f600" * 40,
    "黄" * 50,
]

NOUNS = ["cup", "chair", "fire hydrant", "forklift", "apple", "pallet", "traffic light", "dog", "screwdriver", "person"]
QUALITIES = [
    "yellow",
    "small",
    "left-most",
    "half-empty",
    "broken",
    "striped",
    "Grandma's",
    "2nd",
    "metallic",
    "wooden",
]
PLACES = ["", " on the table", " behind the car", ", please", " (not the other one)"]


def generated() -> list[str]:
    """Combinations of words, and random strings over several alphabets."""
    rng = random.Random(4)
    phrases = [f"{quality} {noun}{place}" for quality in QUALITIES for noun in NOUNS for place in PLACES]
    alphabets = [
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ      ",
        "ab c'\"!?.,;:-_()[]{}/|~^*+=0123456789 ",
        "aeiouäöüßéèçñøåæœ ÄÖÜÉÈÇÑØÅÆŒ 0",
        "абвгдежзийклмн ОПРСТУФХЦ ab1 ",
        "αβγδεζηθ ικλμνξο 日本語の漢字 한국어 ab ",
        "a1 \U0001f600\U0001f697\u2600\u2764 \u20ac\u00a3\u00b5\u00b0\u00bc",
    ]
    alphabets += odd_alphabets()
    for alphabet in alphabets:
        phrases += ["".join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(60)]
    return phrases


def odd_alphabets() -> list[str]:
    """Give characters of every script, and of the kinds that tokenizers get wrong.

    Capitals are left out: Python knows that a sigma at the end of a word has another form, the reference does not. So
    are characters of later years than the oldest Python knows.
    """
    known = [chr(code) for code in range(0x20000) if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs")]
    small = [character for character in known if character == character.lower()]
    kinds = {kind: [c for c in small if unicodedata.category(c)[0] == kind] for kind in "LMNPSZC"}
    return ["".join(small), *("".join(characters) + " a1" for characters in kinds.values())]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.fixture(scope="module")
def reference() -> Any:
    """CLIPTokenizer on a vocabulary built here from the merges, without our tokenizer's help."""
    transformers = pytest.importorskip("transformers")
    byte_level = pytest.importorskip("tokenizers").pre_tokenizers.ByteLevel
    lines = gzip.decompress(VOCABULARY_FILE.read_bytes()).decode().split("\n")
    merges = [line.split() for line in lines[1:48895]]
    symbols = sorted(byte_level.alphabet())
    names = symbols + [f"{symbol}</w>" for symbol in symbols] + ["".join(merge) for merge in merges]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: index for index, name in enumerate(names)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge) for merge in merges])


def repaired(text: str) -> str:
    """What SAM 3 does to a text before the reference's part: the port leaves it to the caller."""
    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def test_ids_equal_the_reference(tokenizer: Tokenizer, reference: Any) -> None:
    phrases = WRITTEN + generated()
    assert len(phrases) >= 900
    differing = []
    for phrase in phrases:
        expected = reference(repaired(phrase), truncation=True, max_length=32)["input_ids"]
        if list(tokenizer(phrase).ids) != expected:
            differing.append((phrase, tokenizer(phrase).ids, expected))
    assert not differing, differing[:5]


def test_uncut_ids_equal_the_reference(tokenizer: Tokenizer, reference: Any) -> None:
    for phrase in WRITTEN:
        assert [START, *tokenizer.encode(phrase), END] == reference(repaired(phrase))["input_ids"], phrase


def test_plain_phrases_need_no_repair(tokenizer: Tokenizer, reference: Any) -> None:
    for phrase in generated()[:500]:
        assert list(tokenizer(phrase).ids) == reference(phrase)["input_ids"], phrase


def test_shipped_merges_are_clip_s_with_their_licence() -> None:
    digest = hashlib.sha256(VOCABULARY_FILE.read_bytes()).hexdigest()
    assert digest == "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
    notice = (VOCABULARY_FILE.parent / "NOTICE").read_text()
    assert VOCABULARY_FILE.name in notice
    assert "Copyright (c) 2021 OpenAI" in notice
    assert "Permission is hereby granted, free of charge" in notice


def test_known_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocabulary_size == 49408
    assert tokenizer("").ids == (START, END)
    assert tokenizer("a photo of a cat").ids == (START, 320, 1125, 539, 320, 2368, END)


def test_text_is_cleaned_before_it_is_encoded(tokenizer: Tokenizer) -> None:
    text = "  Caf\u00c3\u00a9 &amp;amp; \n BAR "
    assert clean(text) == "café & bar"
    assert tokenizer.encode(text) == tokenizer.encode("café & bar")
    assert tokenizer(text).text == "café & bar"


def test_what_does_not_fit_is_cut_and_reported(tokenizer: Tokenizer) -> None:
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    phrase = " ".join(words)
    tokenized = tokenizer(phrase)
    assert len(tokenized.ids) == 32
    assert tokenized.ids[0] == START
    assert tokenized.ids[-1] == END
    assert tokenizer.decode(tokenized.ids) + " " + tokenized.cut == phrase
    assert tokenized.text == phrase


def test_nothing_is_reported_cut_at_exactly_the_context(tokenizer: Tokenizer) -> None:
    fits = tokenizer("cat " * 30)
    assert (len(fits.ids), fits.cut) == (32, "")
    longer = tokenizer("cat " * 31)
    assert (len(longer.ids), longer.cut) == (32, "cat")


def test_the_cut_part_is_the_text_as_it_was(tokenizer: Tokenizer) -> None:
    assert tokenizer("cat " * 29 + "x86_64 and the rest").cut == "86_64 and the rest"
    # "screwdrivers" is two tokens, and only the first fits.
    assert tokenizer("cat " * 29 + "screwdrivers and nails").cut == "drivers and nails"
    # The compass is several tokens, and only the first fits: the report begins with the whole character.
    assert tokenizer("cat " * 29 + "\U0001f9ed and more").cut == "\U0001f9ed and more"


def test_a_very_long_word_takes_no_time(tokenizer: Tokenizer) -> None:
    """Merging takes n log n steps. With n² steps this word of 200 kB would take an hour."""
    word = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz", k=200_000))
    tokenized = tokenizer(word)
    assert len(tokenized.ids) == 32
    assert tokenizer.decode(tokenized.ids) + tokenized.cut == word


def test_special_tokens_cannot_be_written(tokenizer: Tokenizer) -> None:
    """A phrase comes from outside: the names of start and end in it are plain text."""
    tokenized = tokenizer("<|endoftext|> cat <|startoftext|>")
    assert not {tokenizer.start, tokenizer.end} & set(tokenized.ids[1:-1])
    assert tokenizer.decode(tokenized.ids) == "<| endoftext |> cat <| startoftext |>"


@pytest.mark.parametrize("phrase", ["yellow cup", "they ' re", "日本語 text", "a ! b"])
def test_decode_inverts_encode(tokenizer: Tokenizer, phrase: str) -> None:
    assert tokenizer.decode(tokenizer.encode(phrase)) == phrase


def test_context_must_hold_start_and_end() -> None:
    with pytest.raises(ValueError, match="no room"):
        Tokenizer(context_length=1)


def test_a_smaller_vocabulary_keeps_the_frequent_words_and_splits_the_others() -> None:
    small, full = Tokenizer(vocabulary_size=8192), Tokenizer()
    assert (small.vocabulary_size, small.start, small.end) == (8192, 8190, 8191)
    assert small.encode("red ring") == full.encode("red ring")
    rare = small.encode("triangle")
    assert len(rare) > 1 == len(full.encode("triangle"))
    assert max(rare) < small.start
    assert small.decode(rare) == "triangle"
    with pytest.raises(ValueError, match="514 to 49408 tokens, not 400"):
        Tokenizer(vocabulary_size=400)
    bytes_alone = Tokenizer(vocabulary_size=514)
    assert len(bytes_alone.encode("red ring")) == 7
