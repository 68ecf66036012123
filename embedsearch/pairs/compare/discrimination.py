"""Whether two papers of one category are more alike than two of different ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embedsearch.pairs.compare.measured import UNKNOWN, Measured, from_left_out
from embedsearch.pairs.histograms import Marginal
from embedsearch.scores import BLOCK_ROWS, Float32, Float64


def auc(
    every: Marginal,
    same: Marginal,
    vectors: Float32,
    groups: NDArray[np.int64],
    *,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """The chance that a random pair of one group has a higher cosine than a random pair of two groups; ties count half.

    The Mann-Whitney form of the area under the ROC curve (Hanley & McNeil 1982): 0.5 is chance, 1 is perfect, and no
    monotone change of the cosines moves it. `every` and `same` are the scan's distributions of all pairs and of those
    of one group, in the same bins; cosines in one bin are ties. `groups` (n,) has the group of each of the unit rows
    (n, d).

    The error is the delete-one-paper jackknife to first order. With F the distribution of the cosines of the pairs of
    two groups and G that of one group, leaving out paper i takes off a_i = sum of F over its pairs in its group and
    b_i = sum of 1 - G over its other pairs, s and o their shares of n_same and n_other: A_(-i) = (A (1 + s o) - a_i /
    n_same - b_i / n_other) / ((1 - s) (1 - o)), since pairs of both kinds that share paper i are taken off twice; their
    AUC is taken to be A, which costs 1/n of it. `progress` is called with the number of cosines that were just done.
    NaN where there are no pairs of either kind; no error where there would be none without one paper.
    """
    other_counts = every.counts - same.counts
    n_same, n_other = int(same.counts.sum()), int(other_counts.sum())
    if not n_same or not n_other:
        return UNKNOWN
    below_other = _middle(other_counts)
    above_same = 1 - _middle(same.counts)
    value = float((same.counts / n_same) @ below_other)
    table = np.stack([above_same / n_other, below_other / n_same]).astype(np.float32)
    taken = _per_paper(table, every, vectors, groups, progress)
    sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_own = sizes[2][sizes[1]] - 1
    own, other = n_own / n_same, (len(groups) - 1 - n_own) / n_other
    if max(own.max(), other.max()) == 1:
        return Measured(value, np.empty(0))
    return from_left_out(value, (value * (1 + own * other) - taken) / ((1 - own) * (1 - other)))


def _middle(counts: NDArray[np.int64]) -> Float64:
    """The distribution at the middle of each bin: the share below it, and half of what is in it."""
    middle: Float64 = (np.cumsum(counts) - counts / 2) / counts.sum()
    return middle


def _per_paper(
    table: Float32,
    grid: Marginal,
    vectors: Float32,
    groups: NDArray[np.int64],
    progress: Callable[[int], None] | None,
) -> Float64:
    """For each paper the sum over its pairs of `table` (2, m) at (whether of one group, the bin): (n,) float64."""
    n, n_bins = len(vectors), table.shape[1]
    flat = table.ravel()
    labels = np.unique(groups, return_inverse=True)[1].astype(np.int32)
    sums = np.zeros(n)
    for i in range(0, n, BLOCK_ROWS):
        rows = slice(i, i + BLOCK_ROWS)
        for j in range(i, n, BLOCK_ROWS):
            columns = slice(j, j + BLOCK_ROWS)
            cosines = vectors[rows] @ vectors[columns].T
            bins = ((cosines - np.float32(grid.start)) * np.float32(1 / grid.width)).astype(np.int32)
            np.clip(bins, 0, n_bins - 1, out=bins)
            bins += np.int32(n_bins) * (labels[rows, None] == labels[None, columns])
            found = flat[bins]
            if i == j:
                np.fill_diagonal(found, 0)
            else:
                sums[columns] += found.sum(axis=0, dtype=np.float64)
            sums[rows] += found.sum(axis=1, dtype=np.float64)
            if progress is not None:
                progress(cosines.size)
    return sums
