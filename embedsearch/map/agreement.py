"""How much of the neighbourhoods in a space a picture of it keeps, and how far two spaces agree on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.pairs.compare.neighbours import Neighbours, Positions, overlap
from embedsearch.scores import Float32, exact_top_k

K = 15
"""Neighbours of a paper that are compared."""
N_MEASURED = 2000
"""Papers that are looked at where the neighbours of all were not found exactly."""
BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Mean shares of the `k` nearest neighbours of `n_measured` papers; `chance` is that of unrelated spaces.

    `kept`: of each map's space, what is among the k nearest of the picture as well. With two maps: `shared`, what both
    spaces have in common, and `shared_in_pictures`, what both pictures have.
    """

    k: int
    n_measured: int
    chance: float
    kept: tuple[float, ...]
    shared: float | None = None
    shared_in_pictures: float | None = None


def measured_papers(n: int, *, exact: bool, seed: int) -> Positions:
    """The positions of the papers that are measured: (h,) int64, all, or a random sample of N_MEASURED."""
    if exact or n <= N_MEASURED:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, N_MEASURED, replace=False))


def neighbours_in_space(vectors: Float32, papers: Positions, k: int) -> Neighbours:
    """The k nearest other papers of those at `papers` (h,), among unit rows (n, d), k < n: exact."""
    blocks = ((first, vectors[first : first + BLOCK]) for first in range(0, len(vectors), BLOCK))
    positions, scores = np.empty((len(papers), k), np.int64), np.empty((len(papers), k), np.float32)
    for i, (rows, cosines) in enumerate(exact_top_k(vectors[papers], blocks, k + 1)):
        order = np.lexsort((rows, -cosines))
        order = order[rows[order] != papers[i]][:k]
        positions[i], scores[i] = rows[order], cosines[order]
    return Neighbours(positions, scores)


def neighbours_in_picture(xy: Float32, papers: Positions, k: int) -> Neighbours:
    """The k nearest other papers of those at `papers` (h,) in a layout (n, 2); scores are minus their distances."""
    from scipy.spatial import KDTree

    distances, found = KDTree(xy).query(xy[papers], k + 1)
    # The paper itself is mostly the first; where several lie on one place it may be any, or none
    others = found != papers[:, None]
    others[others.all(axis=1), -1] = False
    positions = found[others].reshape(-1, k).astype(np.int64)
    return Neighbours(positions, -distances[others].reshape(-1, k).astype(np.float32))


def agreement(spaces: Sequence[Neighbours], pictures: Sequence[Float32], papers: Positions) -> Agreement:
    """Compare the neighbours that `papers` (h,) have in one space or two with those in the picture of each, (n, 2)."""
    n, k = len(pictures[0]), spaces[0].k
    drawn = [neighbours_in_picture(xy, papers, k) for xy in pictures]
    two = len(spaces) > 1
    return Agreement(
        k=k,
        n_measured=len(papers),
        chance=k / (n - 1),
        kept=tuple(float(overlap(space, picture).mean()) for space, picture in zip(spaces, drawn, strict=True)),
        shared=float(overlap(spaces[0], spaces[1]).mean()) if two else None,
        shared_in_pictures=float(overlap(drawn[0], drawn[1]).mean()) if two else None,
    )
