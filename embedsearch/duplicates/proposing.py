"""Pairs of papers whose cosine is at least so high, as far as an index proposes them: without looking at all pairs."""

from __future__ import annotations

import numpy as np

from embedsearch.duplicates.scan import Progress, threshold
from embedsearch.errors import OptionError
from embedsearch.scores import Float32, Mask, Rows, cosines
from embedsearch.search.view import StoreView

PROPOSED = 10
"""Neighbours that are asked for first, the paper itself among them: what an index is measured by."""
MORE = 4
"""Times as many, where all that were proposed are near."""
BATCH = 256
MOST_NEIGHBOURS = 20_000
"""Asked for at once: of a batch 40 MB of rows. A paper with more is one of a crowd."""
MOST_PROPOSED = 5_000_000
"""Pairs that are held at once, 100 MB: where there are more, all pairs are looked at in less memory."""


class TooMany(Exception):
    """More pairs than are held, or more neighbours than are asked for."""


def proposed(
    view: StoreView, rows: Rows, min_cosine: float, *, allowed: Mask | None, progress: Progress | None = None
) -> tuple[Rows, Rows, Float32]:
    """(first, second, cosines), (m,) each, of the pairs that the store's index proposes: positions in `rows` (n,),
    sorted, first < second, each pair once, its cosine by `scores.cosines` at least `min_cosine`.

    The index is asked for the neighbours of each paper: for more of them while the last one wanted is near. It misses a
    pair that it proposes for neither paper. `allowed` is a mask over the store's rows where `rows` are not all that the
    index has. Raises TooMany where more pairs are found than are held, or more neighbours of a
    paper than are asked for.
    """
    if len(rows) >= 2**31:
        raise OptionError(f"expected fewer than {2**31:,} papers, found {len(rows):,}")
    pairs = _Pairs(len(rows))
    for start in range(0, len(rows), BATCH):
        some = np.arange(start, min(start + BATCH, len(rows)))
        vectors, k = view.read(rows[some]), PROPOSED
        while len(some):
            if k > MOST_NEIGHBOURS:
                raise TooMany
            found = view.ann.candidates(vectors, k, allowed=allowed)
            is_full = _add(pairs, view, rows, some, vectors, found, k, min_cosine)
            some, vectors, k = some[is_full], vectors[is_full], k * MORE
        if progress is not None:
            progress(min(start + BATCH, len(rows)), len(rows))
    return pairs.all()


def _add(
    pairs: _Pairs, view: StoreView, rows: Rows, some: Rows, vectors: Float32, found: list[Rows], k: int, least: float
) -> Mask:
    """Which of the papers `some` may have more neighbours than the k that were asked for."""
    needed = np.unique(np.concatenate(found))
    positions = np.searchsorted(rows, needed)
    is_mine = rows[np.minimum(positions, len(rows) - 1)] == needed
    needed, positions = needed[is_mine], positions[is_mine]
    there = view.read(needed)
    is_full = np.zeros(len(some), bool)
    for i, (paper, its_rows) in enumerate(zip(some.tolist(), found, strict=True)):
        at = np.searchsorted(needed, its_rows)
        at = at[(at < len(needed)) & (needed[np.minimum(at, len(needed) - 1)] == its_rows)]
        scores = cosines(vectors[i], there[at])
        is_near = scores >= threshold(least)
        is_full[i] = int(is_near.sum()) >= k and k < len(rows)
        if not is_full[i]:  # else it is asked again
            pairs.add(paper, positions[at[is_near]], scores[is_near])
    return is_full


class _Pairs:
    """Each pair once, though it is found from both of its papers."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._keys: list[Rows] = []
        self._scores: list[Float32] = []
        self._held = 0

    def add(self, paper: int, others: Rows, scores: Float32) -> None:
        is_other = others != paper
        others, scores = others[is_other], scores[is_other]
        if not len(others):
            return
        self._keys.append(np.minimum(others, paper) * self._n + np.maximum(others, paper))
        self._scores.append(scores)
        self._held += len(others)
        if self._held > MOST_PROPOSED:
            self._fold()
            if self._held > MOST_PROPOSED // 2:
                raise TooMany

    def all(self) -> tuple[Rows, Rows, Float32]:
        self._fold()
        keys = self._keys[0]
        return keys // self._n, keys % self._n, self._scores[0]

    def _fold(self) -> None:
        keys = np.concatenate([np.empty(0, np.int64), *self._keys])
        scores = np.concatenate([np.empty(0, np.float32), *self._scores])
        keys, first = np.unique(keys, return_index=True)
        self._keys, self._scores, self._held = [keys], [scores[first]], len(keys)
