"""Papers that are nearly the same: an abstract that was revised, split over two ids or written twice.

Such papers must not be each other's negatives, nor lie on both sides of a validation split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.scores import product_margin, unit_rows

Groups = NDArray[np.int64]

CROWDED = 0.5
"""Mean cosine of all pairs from which on a space is crowded: language models that nobody trained to tell texts apart
put all of them into one narrow cone, where any two papers look like near-duplicates."""
MOST_EDGES = 1_000_000
"""Kept at once; more are boiled down to one a paper."""


def near_duplicates(
    vectors: NDArray[np.float32], *, min_cosine: float = 0.95, keys: Sequence[str] | None = None
) -> Groups:
    """The group of each of n papers, (n,) int64: the position of its first paper. Alone in it: its own position.

    `vectors` (n, d) are of unit length. Two papers are in one group if a chain of papers joins them, each link a cosine
    of at least `min_cosine` (exact: float64) or an equal key that is not "". All pairs are looked at, by blocks; a
    space in which everything is alike is centred first (`uncrowded`). Raises OptionError for a cosine that cannot be.
    """
    if not 0 < min_cosine <= 1:
        raise OptionError(f"expected a cosine above 0 and at most 1 for near-duplicates, found {min_cosine}")
    links = _Links(len(vectors))
    for rows, columns in _same_keys(keys or ()):
        links.add(rows, columns)
    if len(vectors) > 1:
        _add_alike(links, uncrowded(vectors)[0], min_cosine)
    return links.groups()


def uncrowded(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], bool]:
    """Unit rows (n, d) as they are, or less their mean where their mean cosine is above CROWDED; and whether they were.

    The mean over all pairs is the squared length of the mean vector, less what each row has with itself.
    """
    n = len(vectors)
    mean = vectors.mean(axis=0, dtype=np.float64)
    if n < 3 or (n * float(mean @ mean) - 1) / (n - 1) <= CROWDED:
        return vectors, False
    centred = vectors - mean
    # Rows that are all the same leave nothing: they stay what they are, which is duplicates.
    if not np.all(np.linalg.norm(centred, axis=1) > 1e-6):
        return vectors, False
    return unit_rows(centred), True


def _add_alike(links: _Links, vectors: NDArray[np.float32], min_cosine: float) -> None:
    from embedsearch.device import score_blocks

    least = min_cosine - product_margin(vectors.shape[1])
    for first, second, block in score_blocks(vectors):
        rows, columns = np.nonzero(block >= least)
        rows, columns = rows + first, columns + second
        above = rows < columns
        rows, columns = rows[above], columns[above]
        # A float32 product proposes, the float64 one decides.
        for part in range(0, len(rows), 65_536):
            i, j = rows[part : part + 65_536], columns[part : part + 65_536]
            exact = np.einsum("ij,ij->i", vectors[i], vectors[j], dtype=np.float64)
            links.add(i[exact >= min_cosine], j[exact >= min_cosine])


def _same_keys(keys: Sequence[str]) -> list[tuple[Groups, Groups]]:
    first: dict[str, int] = {}
    pairs = [(i, first.setdefault(key, i)) for i, key in enumerate(keys) if key]
    return [(np.array([i for i, _ in pairs], np.int64), np.array([j for _, j in pairs], np.int64))] if pairs else []


@dataclass(slots=True)
class _Links:
    """Who is joined to whom; as many links as papers are enough to remember."""

    n: int
    rows: list[Groups] = field(default_factory=list)
    columns: list[Groups] = field(default_factory=list)
    held: int = 0

    def add(self, rows: Groups, columns: Groups) -> None:
        self.rows.append(rows)
        self.columns.append(columns)
        self.held += len(rows)
        if self.held > MOST_EDGES + self.n:
            groups = self.groups()
            self.rows, self.columns, self.held = [np.arange(self.n)], [groups], self.n

    def groups(self) -> Groups:
        from scipy.sparse import coo_array  # type: ignore[import-untyped]
        from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

        if not self.held:
            return np.arange(self.n)
        rows, columns = np.concatenate(self.rows), np.concatenate(self.columns)
        graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(self.n, self.n))
        _, labels = connected_components(graph, directed=False)
        _, first, of = np.unique(labels, return_index=True, return_inverse=True)
        return np.asarray(first[of], np.int64)
