"""Rows by how near they are to a library of rows: the score of a row is its cosine with the nearest of them.

A matrix product narrows down, in blocks; whatever is shown or counted is decided by `scores.cosines`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embedsearch.scores import BLOCK_ROWS, Float32, Rows, best_first, exact_top_k, product_margin
from embedsearch.search.view import StoreView


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row, and the rows of the library that are nearest to it, nearest first, with their cosines (k,) float32."""

    row: int
    nearest: Rows
    cosines: Float32

    @property
    def score(self) -> float:
        """The cosine with the nearest of the library."""
        return float(self.cosines[0])


def rank(view: StoreView, rows: Rows, library: Rows, *, n: int, k: int) -> list[Ranked]:
    """The n of `rows` that are nearest to `library`, each with its k nearest of them.

    Best first, and by id where scores are equal. All of `rows` and of `library` (m >= 1) have vectors.
    """
    if not len(rows):
        return []
    rough = _roughly(view, rows, library)
    leading = rows[rough >= np.sort(rough)[-min(n, len(rough))] - 2 * product_margin(view.vectors.dim)]
    found = []
    for start in range(0, len(leading), BLOCK_ROWS):
        part = leading[start : start + BLOCK_ROWS]
        best = exact_top_k(view.read(part), _blocks(view, library), k)
        for row, (positions, scores) in zip(part.tolist(), best, strict=True):
            order = best_first(scores, view.catalogue.ids(library[positions]))[:k]
            found.append(Ranked(row, library[positions[order]], scores[order]))
    ids = view.catalogue.ids(np.array([each.row for each in found]))
    return [found[i] for i in best_first([each.score for each in found], ids)[:n]]


def n_at_least(view: StoreView, rows: Rows, library: Rows, scores: Float32) -> Rows:
    """How many of `rows` have a score of at least each of `scores` (q,): (q,) int64, exact."""
    rough = _roughly(view, rows, library)
    margin = 2 * product_margin(view.vectors.dim)
    doubtful = np.zeros(len(rows), bool)
    for score in scores:
        doubtful |= np.abs(rough - score) <= margin
    for start in range(0, int(doubtful.sum()), BLOCK_ROWS):
        part = np.flatnonzero(doubtful)[start : start + BLOCK_ROWS]
        best = exact_top_k(view.read(rows[part]), _blocks(view, library), 1)
        rough[part] = [found.max() for _, found in best]
    return np.array([np.count_nonzero(rough >= score) for score in scores], np.int64)


def _roughly(view: StoreView, rows: Rows, library: Rows) -> Float32:
    """The score of each of `rows` (n,), but for `product_margin`: (n,) float32. Memory: two blocks of vectors."""
    best = np.full(len(rows), -np.inf, np.float32)
    for _, mine in _blocks(view, library):
        for start in range(0, len(rows), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            np.maximum(best[part], (view.read(rows[part]) @ mine.T).max(axis=1), out=best[part])
    return best


def _blocks(view: StoreView, rows: Rows) -> Iterator[tuple[int, Float32]]:
    """Vectors of `rows`, a block at a time, with the position of the first."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield start, view.read(rows[start : start + BLOCK_ROWS])
