"""The sentence of an abstract that shows why it answers a query."""

from __future__ import annotations

import re
from collections.abc import Callable

from embedsearch.keywords import KeywordQuery, words_of
from embedsearch.texts import designations

# A sentence ends at a full stop, but not at one of these.
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|al|cf|ca|e\.g|i\.e|vs|Fig|Figs|Eq|Eqs|Sect|Sec|Ref|Refs|No|approx|resp)\.$")
_END = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])")


def sentences(text: str) -> list[str]:
    """The sentences of a text for people."""
    found: list[str] = []
    for piece in _END.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def best_sentence(text: str, query: KeywordQuery, *, rarity: Callable[[str], float]) -> str | None:
    """The sentence of `text` that shares the rarest words with the query (highest sum of idf), None if none shares any.

    The first of equals.
    """
    wanted = {*query.words, *(word for phrase in query.phrases for word in phrase)}
    best, best_value = None, 0.0
    for sentence in sentences(text):
        # Stop words are shared by all sentences; they must not make one.
        value = sum(max(0.0, rarity(word) - 1.0) for word in wanted & set(words_of(sentence)))
        named = {*query.names, *query.quoted_names}
        value += sum(8.0 for name in designations(sentence) if name.folded in named)
        if value > best_value:
            best, best_value = sentence, value
    return best
