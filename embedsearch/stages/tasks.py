"""Giving shards out to workers that may die."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from embedsearch.errors import StoreError

MOST_TRIES = 5
"""Workers that a shard may lose: one that brings down each of them would go round for ever."""


class Tasks:
    """The shards, by first row, that no worker has."""

    def __init__(self, firsts: Sequence[int], *, shard_rows: int) -> None:
        self._waiting = deque(firsts)
        self._lost = Counter[int]()
        self._shard_rows = shard_rows

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, n: int) -> list[int]:
        """Up to n shards, which are now somebody's."""
        return [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]

    def lost(self, firsts: Sequence[int], how: str) -> None:
        """A worker died and had these: they are given out first. Raises StoreError where that was tried enough."""
        for first in firsts:
            self._lost[first] += 1
            if self._lost[first] >= MOST_TRIES:
                raise StoreError(
                    f"expected a worker to finish shard {first // self._shard_rows + 1}, found that {MOST_TRIES} died"
                    f" at it, the last one {how}; give them more memory, or a smaller --token-budget"
                )
        self._waiting.extendleft(reversed(firsts))
