"""The words in which two texts differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_WORDS = 2_000
"""Of each text that are compared: abstracts have some 200, and the time grows with the square."""


@dataclass(frozen=True, slots=True)
class Change:
    """Words of the first text in place of which the second has others; either may be ""."""

    removed: str
    added: str


def compare_words(first: str, second: str) -> tuple[float, tuple[Change, ...]]:
    """(share of the words that both texts have in the same order, from 0 to 1; where they differ, in order).

    Twice the common words over the words of both, by difflib's longest matching blocks; words are what stands between
    blanks, as they are written. Of longer texts the first MOST_WORDS. Two empty texts are the same.
    """
    a, b = first.split()[:MOST_WORDS], second.split()[:MOST_WORDS]
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    changes = tuple(
        Change(" ".join(a[i:j]), " ".join(b[k:end])) for tag, i, j, k, end in matcher.get_opcodes() if tag != "equal"
    )
    return matcher.ratio(), changes


def common_words(first: Sequence[str], second: Sequence[str]) -> float:
    """The share of the words that both have in the same order, from 0 to 1."""
    return SequenceMatcher(None, first[:MOST_WORDS], second[:MOST_WORDS], autojunk=False).ratio()
