"""Means over queries, with their errors. What a ranking is worth is measured in evaluate/measuring.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
