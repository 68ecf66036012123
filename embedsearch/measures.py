"""How good a ranking is: pure functions over ids, without a model or a store.

Definitions as in TREC's trec_eval: binary relevance, ranks counted from 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str], *, k: int = 10) -> float:
    """1 / rank of the first relevant id among the first k, 0 if there is none: its mean over queries is MRR@k."""
    return next((1 / rank for rank, id in enumerate(ranked[:k], 1) if id in relevant), 0.0)


def recall(ranked: Sequence[str], relevant: Collection[str], *, k: int = 10) -> float:
    """The share of the relevant ids that are among the first k."""
    return len(set(ranked[:k]) & set(relevant)) / len(set(relevant))


def ndcg(ranked: Sequence[str], relevant: Collection[str], *, k: int = 10) -> float:
    """Normalised discounted cumulative gain at k, gain 1 and discount log2(1 + rank) (Järvelin & Kekäläinen 2002)."""
    gain = sum(1 / np.log2(1 + rank) for rank, id in enumerate(ranked[:k], 1) if id in relevant)
    ideal = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, len(set(relevant))) + 1))
    return float(gain / ideal)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(values: ArrayLike, *, n_resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean of one value a query, with the percentile bootstrap's 95 % interval over queries (Efron 1979).

    For the difference of two systems give their paired differences, not two intervals.
    """
    sample = np.asarray(values, np.float64)
    picks = np.random.default_rng(seed).integers(len(sample), size=(n_resamples, len(sample)))
    low, high = np.quantile(sample[picks].mean(axis=1), [0.025, 0.975])
    return Interval(float(sample.mean()), float(low), float(high))
