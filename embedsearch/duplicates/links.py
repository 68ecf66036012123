"""Who is joined to whom, and the groups that this makes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[np.int64]

MOST_EDGES = 1_000_000
"""Kept at once; more are boiled down to one a paper."""


@dataclass(slots=True)
class Links:
    """Links between n papers; as many as there are papers are enough to remember."""

    n: int
    rows: list[Groups] = field(default_factory=list)
    columns: list[Groups] = field(default_factory=list)
    held: int = 0

    def add(self, rows: Groups, columns: Groups) -> None:
        """Join each of `rows` (m,) to that of `columns` (m,)."""
        self.rows.append(rows)
        self.columns.append(columns)
        self.held += len(rows)
        if self.held > MOST_EDGES + self.n:
            groups = self.groups()
            self.rows, self.columns, self.held = [np.arange(self.n)], [groups], self.n

    def groups(self) -> Groups:
        """The group of each paper, (n,) int64: the position of its first. Alone in it: its own position."""
        if not self.held:
            return np.arange(self.n)
        return _components(self.n, np.concatenate(self.rows), np.concatenate(self.columns))


def _components(n: int, rows: Groups, columns: Groups) -> Groups:
    """The smallest position that links lead to from each of n, (n,). Every paper points to itself or to a smaller one
    of its group; where a link joins two ends, the larger end is made to point to the smaller, until none does."""
    to = np.arange(n)
    while True:
        ends = to[rows], to[columns]
        low, high = np.minimum(*ends), np.maximum(*ends)
        is_open = low != high
        if not is_open.any():
            return to
        rows, columns = rows[is_open], columns[is_open]
        np.minimum.at(to, high[is_open], low[is_open])
        while not np.array_equal(further := to[to], to):
            to = further
