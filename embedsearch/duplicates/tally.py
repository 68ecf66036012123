"""The closest pairs of all that are found, how many there are, and who is joined to whom: in bounded memory."""

from __future__ import annotations

import numpy as np

from embedsearch.duplicates.links import Groups, Links
from embedsearch.duplicates.scan import Near, threshold
from embedsearch.scores import Float32, Rows


class Tally:
    """Pairs of n papers with a cosine of at least `min_cosine`, of which the `keep` closest stay.

    `order` (n,) int64 is the rank of each paper's id among all: of pairs with an equal cosine those of smaller ids are
    the closer ones.
    """

    def __init__(self, order: Rows, *, min_cosine: float, keep: int) -> None:
        self.n_pairs = 0
        self._order, self._least, self._keep = order, threshold(min_cosine), keep
        self._links = Links(len(order))
        self._floor = -np.inf
        self._kept: list[tuple[Rows, Rows, Float32]] = []
        self._held = 0

    def add_near(self, near: Near) -> None:
        """Pairs of a scan. Exact cosines are computed where something depends on them."""
        if not len(near.first):
            return
        is_certain = near.rough >= self._least + near.margin
        wanted = ~is_certain | (near.rough >= self._floor - near.margin)
        scores = near.exact(wanted)
        passing = scores >= self._least
        is_pair = is_certain.copy()
        is_pair[np.flatnonzero(wanted)] = passing
        self._count(near.first[is_pair], near.second[is_pair])
        self._hold(near.first[wanted][passing], near.second[wanted][passing], scores[passing])

    def add(self, first: Rows, second: Rows, scores: Float32) -> None:
        """Pairs (m,) that are known to be near, and their cosines."""
        self._count(first, second)
        self._hold(first, second, scores)

    def closest(self) -> tuple[Rows, Rows, Float32]:
        """(first, second, cosines) of the closest, closest first."""
        self._cut()
        return self._kept[0]

    def groups(self) -> Groups:
        """As `Links.groups`."""
        return self._links.groups()

    def _count(self, first: Rows, second: Rows) -> None:
        self.n_pairs += len(first)
        self._links.add(first, second)

    def _hold(self, first: Rows, second: Rows, scores: Float32) -> None:
        self._kept.append((first, second, scores))
        self._held += len(first)
        if self._held > 2 * self._keep + 1_000:
            self._cut()

    def _cut(self) -> None:
        nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        first, second, scores = (np.concatenate(each) for each in zip(nothing, *self._kept, strict=True))
        low = np.minimum(self._order[first], self._order[second])
        high = np.maximum(self._order[first], self._order[second])
        best = np.lexsort((high, low, -scores))[: self._keep]
        self._kept, self._held = [(first[best], second[best], scores[best])], len(best)
        if len(best) == self._keep:
            self._floor = float(scores[best[-1]]) if len(best) else np.inf
