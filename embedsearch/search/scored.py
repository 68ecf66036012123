"""Rows with their scores, and how meaning and words make one score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from embedsearch.keywords import Listed
from embedsearch.scores import Float32, Mask, Rows
from embedsearch.search.modes import HYBRID_WEIGHT
from embedsearch.search.view import Around


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows with what they were found by; `cosines` is NaN where a row has no vector or no vector was asked for.

    `rows` is (n,) int64, `scores` and `cosines` are (n,) float32.
    """

    rows: Rows
    scores: Float32
    cosines: Float32


def mixed(rows: Rows, cosines: Float32, bm25: Float32, best: float, weight: float = HYBRID_WEIGHT) -> Scored:
    """Hybrid scores of `rows`; `best` is the query's highest BM25 of the whole corpus, 0 where no paper has a word:
    then they are the cosines."""
    scores = np.nan_to_num(cosines.astype(np.float64))
    if best:
        scores = weight * scores + (1 - weight) * (bm25.astype(np.float64) / best)
    return Scored(rows, scores.astype(np.float32), cosines)


@dataclass(frozen=True, slots=True)
class Lists:
    """The first of two lists, by cosine and by words, among which the best hybrid scores are looked for.

    `rows` (n,), sorted, are those of both; `cosines` (n,) is NaN where there is no vector; `at_least` and `at_most`
    (n,) are bounds of their BM25, equal where it is known. No other row has more than `last_cosine` and `last_bm25`.
    `best` is the query's highest BM25 of the whole corpus, `weight` the cosine's in the score.
    """

    rows: Rows
    cosines: Float32
    at_least: Float32
    at_most: Float32
    last_cosine: float
    last_bm25: float
    best: float
    weight: float = HYBRID_WEIGHT

    @classmethod
    def of(cls, found: Around, listed: Listed, *, m: int, weight: float) -> Self:
        """Of what is around the query, and what is `listed` by words, which is some of it.

        An index proposes more than m rows: what is below the m-th cosine is left out, as if it had not been proposed.
        """
        found = found.best(m, listed.rows)
        n, at = len(found.rows), np.searchsorted(found.rows, listed.rows)
        least, most = np.zeros(n, np.float32), np.full(n, listed.others, np.float32)
        least[at], most[at] = listed.at_least, listed.at_most
        last_cosine = _kth(found.near_cosines, m)
        return cls(found.rows, found.cosines, least, most, last_cosine, listed.others, listed.best, weight)

    def mixed(self, bm25: Float32) -> Scored:
        """Hybrid scores of all rows, were `bm25` (n,) theirs."""
        return mixed(self.rows, self.cosines, bm25, self.best, self.weight)

    def may_lead(self, k: int) -> Mask:
        """Which rows can be among the best k: those whose score may be as high as k others' certainly are."""
        if len(self.rows) <= k:
            return np.ones(len(self.rows), bool)
        lowest = self.mixed(self.at_least).scores
        highest = self.mixed(self.at_most).scores
        kth = float(np.partition(lowest, len(lowest) - k)[len(lowest) - k])
        return np.greater_equal(highest, kth)

    def settle(self, scored: Scored, k: int) -> bool:
        """Whether the k-th of the hybrid scores is above all that rows outside of both lists can have."""
        outside = self.weight * self.last_cosine + (1 - self.weight) * self.last_bm25 / self.best
        # Rounded as theirs are, since one that ties may have the smaller id.
        return len(scored.rows) >= k and _kth(scored.scores, k) > float(np.float32(outside))


def _kth(values: Float32, k: int) -> float:
    """The k-th largest of `values` (n,), 0 where there are fewer: a paper outside of the list has no such value."""
    return max(0.0, float(np.partition(values, len(values) - k)[len(values) - k])) if len(values) >= k else 0.0
