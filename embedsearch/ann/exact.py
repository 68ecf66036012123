"""Exact search without an index: every stored vector is looked at."""

from __future__ import annotations

from embedsearch.scores import Float32, Mask, Rows, exact_top_k
from embedsearch.store.vectors import ShardedVectors


class ExactScan:
    """Scans the vectors that are there: for a store that is being built, or where FAISS is not installed."""

    exact = True

    def __init__(self, vectors: ShardedVectors) -> None:
        self._vectors = vectors

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        """See AnnIndex."""
        return [rows for rows, _ in exact_top_k(queries, self._vectors.blocks(), k, allowed=allowed)]
