"""Nearest neighbours of all papers, and of any part of them without a second search; what they say of a space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedsearch.scores import Float32, Float64, Mask

STRIP_ROWS = 1024
STRIP_COLUMNS = 4096
"""A block of cosines in float64 takes 32 MiB, and its keys as much."""

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The m nearest of each of h papers, nearest first: `positions` and `scores` are (h, m), int64 and float32.

    Ordered by (-cosine, position): papers in the order of their ids give ties in the order of ids.
    """

    positions: Positions
    scores: Float32

    @property
    def k(self) -> int:
        """How many there are of each."""
        return int(self.positions.shape[1])

    def first(self, k: int) -> Neighbours:
        """The k nearest."""
        return Neighbours(self.positions[:, :k], self.scores[:, :k])


def nearest(vectors: Float32, m: int, *, progress: Callable[[int], None] | None = None) -> Neighbours:
    """The m nearest other papers of each of n unit rows (n, d), 1 <= m < n: exact, in float64 rounded to float32.

    A cosine so made is that of `scores.cosines`, save where the sum lies within rounding of the middle between two
    float32 numbers (one in ten million), which moves it by the last bit. Memory: O(n m) and two blocks.
    `progress` is called with the number of cosines that were just done.
    """
    n = len(vectors)
    found = [_strip(vectors, first, m, progress) for first in range(0, n, STRIP_ROWS)]
    keys = np.concatenate(found)
    return Neighbours(_positions(keys), _scores(keys))


def _strip(vectors: Float32, first: int, m: int, progress: Callable[[int], None] | None) -> NDArray[np.int64]:
    """Keys of the m nearest of STRIP_ROWS papers from `first` on, largest first."""
    rows = vectors[first : first + STRIP_ROWS].astype(np.float64)
    best = np.empty((len(rows), 0), np.int64)
    for start in range(0, len(vectors), STRIP_COLUMNS):
        columns = vectors[start : start + STRIP_COLUMNS].astype(np.float64)
        keys = _keys((rows @ columns.T).astype(np.float32), np.arange(start, start + len(columns)))
        own = np.arange(max(first, start), min(first + len(rows), start + len(columns)))
        keys[own - first, own - start] = np.iinfo(np.int64).min  # a paper is no neighbour of itself
        best = np.concatenate([best, keys], axis=1)
        if best.shape[1] > m:
            best = np.partition(best, best.shape[1] - m, axis=1)[:, -m:]
        if progress is not None:
            progress(keys.size)
    return np.sort(best, axis=1)[:, ::-1]


def _keys(scores: Float32, positions: Positions) -> NDArray[np.int64]:
    """One integer for each (score, position), larger for a higher score and then for an earlier position."""
    bits = (scores + np.float32(0)).view(np.int32)  # + 0: minus zero is zero
    # The bits of positive floats rise with their value; those of negative ones fall, which the xor turns round
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys: NDArray[np.int64] = (ordered << 32) | (0xFFFFFFFF - positions)
    return keys


def _positions(keys: NDArray[np.int64]) -> Positions:
    positions: Positions = 0xFFFFFFFF - (keys & 0xFFFFFFFF)
    return positions


def _scores(keys: NDArray[np.int64]) -> Float32:
    ordered = (keys >> 32).astype(np.int32)
    scores: Float32 = np.where(ordered < 0, ordered ^ np.int32(0x7FFFFFFF), ordered).astype(np.int32).view(np.float32)
    return scores


def within(neighbours: Neighbours, part: Mask, k: int, *, vectors: Float32) -> Neighbours:
    """The k nearest among the papers of `part` (n,) bool of each of them, (h, k), positions still those of all papers.

    From the lists of all n papers: their entries that lie in the part, in order, are its nearest. Where fewer than k of
    them do, that paper's cosines are computed anew, so it is exact. `part` must hold more than k papers.
    """
    members = np.flatnonzero(part)
    width = min(neighbours.k, 4 * k + 60)  # of a half, 2 k + 30 are expected: a shorter list is quicker to go through
    lists = neighbours.positions[members, :width]
    inside = part[lists]
    keep = inside & (np.cumsum(inside, axis=1, dtype=np.int32) <= k)
    short = np.flatnonzero(keep.sum(axis=1) < k)
    positions = np.empty((len(members), k), np.int64)
    scores = np.empty((len(members), k), np.float32)
    enough = np.ones(len(members), bool)
    enough[short] = False
    positions[enough] = lists[enough][keep[enough]].reshape(-1, k)
    scores[enough] = neighbours.scores[members, :width][enough][keep[enough]].reshape(-1, k)
    for i in short:
        others = members[members != members[i]]
        cosines = vectors[others].astype(np.float64) @ vectors[members[i]].astype(np.float64)
        keys = np.sort(_keys(cosines.astype(np.float32), others))[: -k - 1 : -1]
        positions[i], scores[i] = _positions(keys), _scores(keys)
    return Neighbours(positions, scores)


def category_hits(neighbours: Neighbours, own: NDArray[np.int64], groups: NDArray[np.int64]) -> Float64:
    """Whether the majority of each paper's k neighbours has its category: (h,) float64 of 0 and 1.

    `own` (h,) are the papers' groups, `groups` (n,) those of all. Among categories with equally many votes the one with
    the largest sum of cosines wins, then the one of the smaller number. The mean is the leave-one-out accuracy of the
    k-nearest-neighbour classifier (Cover & Hart 1967).
    """
    labels = groups[neighbours.positions]
    alike = labels[:, :, None] == labels[:, None, :]
    votes = alike.sum(axis=2)
    sums = np.where(alike, neighbours.scores[:, None, :].astype(np.float64), 0.0).sum(axis=2)
    winner = np.lexsort((labels, -sums, -votes), axis=1)[:, 0]
    hits: Float64 = (labels[np.arange(len(labels)), winner] == own).astype(np.float64)
    return hits


def hubness(neighbours: Neighbours, papers: Positions) -> float:
    """Skewness of N_k, how often each of `papers` (h,) stands among the k nearest of the others.

    E[(N - mean)^3] / sd^3: Radovanović, Nanopoulos & Ivanović (2010), JMLR 11, 2487. 0: no paper is a hub; in high
    dimensions a few papers are everybody's neighbours, and it grows. 0 as well where every paper occurs equally often.
    """
    counts = np.bincount(neighbours.positions.ravel(), minlength=int(papers.max()) + 1)[papers]
    away = counts - counts.mean()
    sd = np.sqrt(np.square(away).mean())
    return float((away**3).mean() / sd**3) if sd > 0 else 0.0


def overlap(a: Neighbours, b: Neighbours) -> Float64:
    """Share of each paper's k neighbours that two spaces have in common: (h,) float64.

    The mean over the papers is the mutual k-nearest-neighbour metric (Huh et al. 2024, arXiv:2405.07987); two spaces
    that have nothing in common give k / (n - 1).
    """
    both = np.sort(np.concatenate([a.positions, b.positions], axis=1), axis=1)
    shared: Float64 = (both[:, 1:] == both[:, :-1]).sum(axis=1) / a.k
    return shared
