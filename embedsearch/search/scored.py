"""Rows with their scores, and how meaning and words make one score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedsearch.scores import Float32, Rows

HYBRID_WEIGHT = 0.6
"""w of hybrid = w cosine + (1 - w) BM25 / best BM25: chosen on queries of its own, see docs/method.md."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows with what they were found by; `cosines` is NaN where a row has no vector or no vector was asked for.

    `rows` is (n,) int64, `scores` and `cosines` are (n,) float32.
    """

    rows: Rows
    scores: Float32
    cosines: Float32


def mixed(rows: Rows, cosines: Float32, bm25: Float32, best: float) -> Scored:
    """Hybrid scores of `rows`; `best` is the query's highest BM25 of the whole corpus, 0 where no paper has a word."""
    share = bm25.astype(np.float64) / best if best else np.zeros(len(rows))
    scores = HYBRID_WEIGHT * np.nan_to_num(cosines.astype(np.float64)) + (1 - HYBRID_WEIGHT) * share
    return Scored(rows, scores.astype(np.float32), cosines)


def are_settled(scored: Scored, near: Rows, bm25: Float32, best: float, *, m: int, k: int) -> bool:
    """Whether the k-th of the hybrid scores is above all that rows outside of both lists of m can have.

    `near` are the rows of the list by cosine, `bm25` the values of the list by words.
    """
    if len(scored.rows) < k:
        return False
    # What is missing from a list has at most the list's m-th value.
    last_cosine = _kth(scored.cosines[np.isin(scored.rows, near)], m)
    last_bm25 = _kth(bm25, m)
    return bool(_kth(scored.scores, k) > HYBRID_WEIGHT * last_cosine + (1 - HYBRID_WEIGHT) * last_bm25 / best)


def _kth(values: Float32, k: int) -> float:
    """The k-th largest of `values` (n,), 0 where there are fewer: a paper outside of the list has no such value."""
    return max(0.0, float(np.partition(values, len(values) - k)[len(values) - k])) if len(values) >= k else 0.0
