"""What a smaller corpus would give, exactly.

A measure of known items needs no more of a query than how many papers are better than the right one. Of a random part
of the corpus that holds the right paper this number is hypergeometric, so that the mean over all such parts is known
without drawing any.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError

Float64 = NDArray[np.float64]


def gains_of(measure: str) -> Float64:
    """What a query gains below j better papers, j from 0: 1 / (1 + j) for MRR, 1 for recall. Raises OptionError."""
    match = re.fullmatch(r"(MRR|recall)@([1-9]\d{0,3})", measure)
    if not match:
        raise OptionError(f"expected MRR@K or recall@K, found {measure!r}")
    k = int(match[2])
    return 1 / np.arange(1.0, k + 1) if match[1] == "MRR" else np.ones(k)


def thinned(ranks: NDArray[np.int64], n_corpus: int, n_papers: int, gains: Float64) -> Float64:
    """(q,): the mean of the measure over all parts of `n_papers` papers that hold the right one.

    `ranks` (q,) is that of the right paper among `n_corpus`, from 1. Of the other n_corpus - 1, n_papers - 1 are drawn
    without replacement.
    """
    unique, at = np.unique(ranks, return_inverse=True)
    better, others, drawn = unique[:, None] - 1, n_corpus - 1, n_papers - 1
    j = np.arange(len(gains))[None]
    chance = np.exp(
        _log_choose(better, j, others) + _log_choose(others - better, drawn - j, others)
        - _log_choose(np.array(others), np.array(drawn), others)
    )  # fmt: skip
    mean: Float64 = (chance @ gains)[at]
    return mean


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64], largest: int) -> Float64:
    """Of the ways to choose k of n, up to `largest`; -inf where there is none."""
    n, k = np.broadcast_arrays(n, k)
    possible = (k >= 0) & (k <= n)
    n, k = np.where(possible, n, 0), np.where(possible, k, 0)
    factorials = _log_factorials(largest)
    return np.where(possible, factorials[n] - factorials[k] - factorials[n - k], -np.inf)


@lru_cache(maxsize=4)
def _log_factorials(n: int) -> Float64:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, n + 1)))])
