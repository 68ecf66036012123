"""What a search goes by, and how its hits are ordered."""

from __future__ import annotations

from enum import Enum


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
