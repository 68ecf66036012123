"""What a search goes by, and how its hits are ordered."""

from __future__ import annotations

from enum import Enum

HYBRID_WEIGHT = 0.6
"""w of hybrid = w cosine + (1 - w) BM25 / best BM25, where a store has none of its own: chosen on other queries than it
was measured on, see docs/method.md."""


class Mode(Enum):
    """What a search goes by; the value is its name on the command line."""

    HYBRID = "hybrid"
    """Meaning and words, see HYBRID_WEIGHT."""
    DENSE = "dense"
    """Meaning: the cosine of the query's vector and the paper's."""
    KEYWORD = "keyword"
    """Words: BM25 over title and abstract. Needs no model."""


class Sort(Enum):
    """The order in which the k best hits are shown."""

    SCORE = "score"
    DATE = "date"
    """Newest first."""


class Combine(Enum):
    """What a paper is scored by where it is to be like several."""

    NEAREST = "nearest"
    """The cosine with the nearest of them."""
    MEAN = "mean"
    """The cosine with the mean of their vectors."""
