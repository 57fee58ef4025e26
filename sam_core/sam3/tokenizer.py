"""CLIP's byte-pair tokenizer for SAM 3's phrases, run by the `tokenizers` library.

Byte-pair encoding of words: "Neural Machine Translation of Rare Words with Subword Units" (Sennrich et al., 2016);
over bytes instead of characters: GPT-2 (Radford et al., 2019); lower-cased, with a mark at a word's end: CLIP
(Radford et al., 2021). The merges are CLIP's own file (see `sam_core/data/NOTICE`).
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ftfy
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

VOCABULARY_FILE = Path(__file__).parents[1] / "data" / "bpe_simple_vocab_16e6.txt.gz"
PADDING = 0

CLIP_VOCABULARY_SIZE = 49408
_WITHOUT_MERGES = 2 * 256 + 2  # every byte inside a word and at its end, start token, end token
_WORD_END = "</w>"
# A word is the end of a contraction, a run of letters, a single digit, or a run of anything else but white space.
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


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


@lru_cache(maxsize=4)
def _load(path: Path, size: int) -> tokenizers.Tokenizer:
    """Build the encoder of a vocabulary of `size` tokens, without start and end tokens, from CLIP's merges."""
    # The first line is a header.
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : 1 + size - _WITHOUT_MERGES]
    merges = [(first, second) for first, second in map(str.split, lines)]
    # Sorted, the characters that stand for bytes are in CLIP's order.
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*symbols, *(symbol + _WORD_END for symbol in symbols), *(first + second for first, second in merges)]
    vocabulary = {name: place for place, name in enumerate(names)}
    encoder = tokenizers.Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix=_WORD_END))
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    encoder.decoder = decoders.ByteLevel()
    return encoder


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

    Raises:
        ValueError: The context has no room for start and end, or CLIP has no vocabulary of that size.
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
        self.vocabulary_size = vocabulary_size
        self.start = vocabulary_size - 2
        self.end = vocabulary_size - 1
        self._encoder = _load(vocabulary, vocabulary_size)

    def encode(self, text: str) -> list[int]:
        """Return the ids of all tokens of `text`, cleaned, without start and end tokens and without a cut."""
        return self._encoder.encode(clean(text)).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids (start and end tokens are left out); halves of a character become U+FFFD."""
        text = self._encoder.decode([token for token in ids if token < self.start])
        return text.replace(_WORD_END, " ").strip()

    def __call__(self, phrase: str) -> TokenizedPhrase:
        """Tokenize one phrase; what exceeds the context is cut and reported, never an error."""
        text = clean(phrase)
        encoding = self._encoder.encode(text)
        room = self.context_length - 2
        # A token's offsets are places in the text, also where the cut is inside a word.
        cut = text[encoding.offsets[room][0] :] if len(encoding) > room else ""
        return TokenizedPhrase(text, (self.start, *encoding.ids[:room], self.end), cut)
