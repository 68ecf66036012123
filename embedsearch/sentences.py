"""The sentence of an abstract that shows why it answers a query."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

from embedsearch.keywords import KeywordQuery, words_of
from embedsearch.texts import designations

# A sentence ends at a full stop, but not at one of these.
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|al|cf|ca|e\.g|i\.e|vs|Fig|Figs|Eq|Eqs|Sect|Sec|Ref|Refs|No|approx|resp)\.$")
_LONGEST = len("approx.")
_END = re.compile(r"[.!?]\s+(?=[^\sa-z])")

LONGEST_REMEMBERED = 5000
"""Characters of a text that is kept taken apart, LONGEST_PIECE those of a piece of one: what is longer would make the
memory that this takes as large as a corpus likes."""
LONGEST_PIECE = 64

_Taken = tuple[tuple[str, tuple[str, ...]], ...]


def sentences(text: str) -> list[str]:
    """The sentences of a text for people."""
    found, start, joined = [], 0, ""
    for end in _END.finditer(text):
        piece = f"{joined}{text[start : end.start() + 1]}"
        start = end.end()
        if piece[-1] == "." and _ABBREVIATION.search(piece, max(0, len(piece) - _LONGEST)):
            joined = f"{piece} "
        else:
            found.append(piece)
            joined = ""
    found.append(f"{joined}{text[start:]}")
    return found


class Marker:
    """Finds the sentences that a reader would mark: the query is looked at once, for all texts."""

    def __init__(self, query: KeywordQuery, *, rarity: Callable[[str], float]) -> None:
        """`rarity` gives the idf of a word of `words_of`."""
        # Stop words are shared by all sentences; they must not make one.
        values = {word: rarity(word) - 1.0 for word in chain(query.words, *query.phrases)}
        self._values = {word: value for word, value in values.items() if value > 0}
        self._names = {*query.names, *query.quoted_names}

    def best(self, text: str) -> str | None:
        """The sentence of `text` that shares the rarest words with the query (highest sum of idf), the first of equals.

        None if none shares any.
        """
        best, best_value = None, 0.0
        for sentence, words in _sentences_with_words(text) if self._values or self._names else ():
            # An exact sum: whatever the order of a set.
            value = math.fsum([self._values[word] for word in self._values.keys() & words])
            if self._names:
                value += sum(8.0 for name in designations(sentence) if name.folded in self._names)
            if value > best_value:
                best, best_value = sentence, value
        return best


def _sentences_with_words(text: str) -> _Taken:
    return _remembered(text) if len(text) <= LONGEST_REMEMBERED else _taken_apart(text)


def _taken_apart(text: str) -> _Taken:
    """The sentences of a text, each with its words."""
    return tuple(
        # The words of a sentence are those of its pieces: none goes on past a character of ASCII that is no letter.
        (sentence, tuple(chain.from_iterable(map(_words, sentence.translate(_PIECES).split()))))
        for sentence in sentences(text)
    )


_PIECES = {ord(c): c.lower() if c.isalnum() else " " for c in map(chr, range(128))}

_remembered = lru_cache(4096)(_taken_apart)
"""Some papers answer many queries. Abstracts take 6 kB each, words included: 25 MB in all."""


def _words(piece: str) -> tuple[str, ...]:
    return _remembered_words(piece) if len(piece) <= LONGEST_PIECE else tuple(words_of(piece))


@lru_cache(32_768)
def _remembered_words(piece: str) -> tuple[str, ...]:
    """`words_of` takes longer than all else here, and few pieces of a text are new."""
    return tuple(words_of(piece))
