"""CLIP's byte-pair tokenizer, written from the published method.

Byte-pair encoding of words: "Neural Machine Translation of Rare Words with Subword Units" (Sennrich et al., 2016);
over bytes instead of characters: GPT-2 (Radford et al., 2019); lower-cased, with a mark at a word's end: CLIP
(Radford et al., 2021). The merges are CLIP's own file (see `sam_core/data/NOTICE`).
"""

from __future__ import annotations

import gzip
import html
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import ftfy

VOCABULARY_FILE = Path(__file__).parents[1] / "data" / "bpe_simple_vocab_16e6.txt.gz"
PADDING = 0

_WORD_END = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
CLIP_VOCABULARY_SIZE = 49408
_WITHOUT_MERGES = 2 * 256 + 2  # every byte inside a word and at its end, start token, end token


@dataclass(frozen=True)
class TokenizedPhrase:
    """One phrase as the text encoder takes it.

    Attributes:
        text: the phrase after cleaning, before the cut.
        ids: token ids with start and end tokens, without padding; at most the context length.
        cut: the text that did not fit; empty where all of it did.
    """

    text: str
    ids: tuple[int, ...]
    cut: str


def clean(text: str) -> str:
    """Repair mis-decoded characters, resolve HTML entities, collapse white space, lower the case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Split cleaned text into contractions' ends, runs of letters, single digits, and runs of anything else.

    Yields:
        The start and end of each in `text`; white space is in none of them.
    """
    start = 0
    while start < len(text):
        if text[start].isspace():
            start += 1
            continue
        end = start + 1
        contraction = next((c for c in _CONTRACTIONS if text.startswith(c, start)), None)
        if contraction is not None:
            end = start + len(contraction)
        else:
            kind = _character_kind(text[start])
            while kind != "N" and end < len(text) and _character_kind(text[end]) == kind:
                end += 1
        yield start, end
        start = end


def _character_kind(character: str) -> str:
    """Tell letters 'L', numbers 'N', white space ' ' and the rest '.' apart."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "."


def byte_symbols() -> dict[int, str]:
    """Give each byte a printable character: itself where it has one in Latin-1, else the next from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable}
    symbols.update({byte: chr(256 + place) for place, byte in enumerate(rest)})
    return symbols


@lru_cache(maxsize=4)
def _read_vocabulary(path: Path, size: int) -> tuple[list[str], dict[str, int], dict[tuple[str, ...], int]]:
    """Read CLIP's merges: the token of each id, the id of each token, and the rank of each merge."""
    # The first line is a header.
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 1 + size - _WITHOUT_MERGES]
    merges = [tuple(line.split()) for line in lines]
    singles = list(byte_symbols().values())
    names = [*singles, *(symbol + _WORD_END for symbol in singles), *("".join(merge) for merge in merges)]
    ids = {name: place for place, name in enumerate(names)}
    return names, ids, {merge: rank for rank, merge in enumerate(merges)}


class Tokenizer:
    """Turns phrases into token ids.

    Args:
        context_length: most tokens a phrase may have, start and end included.
        vocabulary_size: number of token ids; below CLIP's, only its most frequent merges are made, and rarer words
            become several tokens.
        vocabulary: CLIP's file of merges, gzipped.

    Attributes:
        vocabulary_size: number of token ids.
        start: id of the token before every phrase.
        end: id of the token after every phrase.
    """

    def __init__(
        self,
        context_length: int = 32,
        vocabulary_size: int = CLIP_VOCABULARY_SIZE,
        vocabulary: Path = VOCABULARY_FILE,
    ) -> None:
        if context_length < 2:
            raise ValueError(f"a context of {context_length} tokens has no room for the start and end tokens.")
        if not _WITHOUT_MERGES <= vocabulary_size <= CLIP_VOCABULARY_SIZE:
            raise ValueError(
                f"a vocabulary has {_WITHOUT_MERGES} to {CLIP_VOCABULARY_SIZE} tokens, not {vocabulary_size}."
            )
        self.context_length = context_length
        self._symbols = byte_symbols()
        self._names, self._ids, self._ranks = _read_vocabulary(vocabulary, vocabulary_size)
        self._merge_cached = lru_cache(maxsize=4096)(self._merge)
        self.start = len(self._names)
        self.end = len(self._names) + 1
        self.vocabulary_size = len(self._names) + 2

    def _merge(self, word: str) -> tuple[int, ...]:
        """Encode one word: join the pair that was learnt first, everywhere, until no known pair is left."""
        parts = [self._symbols[byte] for byte in word.encode("utf-8")]
        parts[-1] += _WORD_END
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            joined: list[str] = []
            place = 0
            while place < len(parts):
                if tuple(parts[place : place + 2]) == best:
                    joined.append(parts[place] + parts[place + 1])
                    place += 2
                else:
                    joined.append(parts[place])
                    place += 1
            parts = joined
        return tuple(self._ids[part] for part in parts)

    def encode(self, text: str) -> list[int]:
        """Return the ids of all tokens of `text`, cleaned, without start and end tokens and without a cut."""
        text = clean(text)
        return [token for start, end in word_spans(text) for token in self._merge_cached(text[start:end])]

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """Return the text of token ids (start and end tokens are left out); halves of a character become U+FFFD."""
        bytes_of = {symbol: byte for byte, symbol in self._symbols.items()}
        text = "".join(self._names[token] for token in ids if token < len(self._names))
        pieces = text.split(_WORD_END)
        return " ".join(bytes(bytes_of[c] for c in piece).decode("utf-8", errors="replace") for piece in pieces).strip()

    def __call__(self, phrase: str) -> TokenizedPhrase:
        """Tokenize one phrase; what exceeds the context is cut and reported, never an error."""
        text = clean(phrase)
        room = self.context_length - 2
        kept: list[int] = []
        cut = ""
        for start, end in word_spans(text):
            tokens = self._merge_cached(text[start:end])
            rest = tokens[room - len(kept) :]
            kept += tokens[: room - len(kept)]
            if rest:
                # A word may be cut in its middle; then its tokens tell where.
                cut = text[start:] if rest == tokens else self.decode(rest) + text[end:]
                break
        return TokenizedPhrase(text, (self.start, *kept, self.end), cut)
