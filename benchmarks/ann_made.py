"""Made vectors in a folder, with queries that are none of them and what is exactly nearest to each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.synthetic import Source
from embedsearch.scores import Float32, Mask, Rows, exact_top_k
from embedsearch.store.generation import Shard
from embedsearch.store.vectors import SHARD_ROWS, ShardedVectors

K = 10
SHARES = (1.0, 0.1, 0.01)
"""Of the rows, those that a filter allows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """`queries` (q, d) are measured with; `choosing` (c, d) are for the index to set itself with."""

    folder: Path
    vectors: ShardedVectors
    queries: Float32
    choosing: Float32
    exact: dict[float, Rows]

    @property
    def ann(self) -> Path:
        """Where its index lies."""
        return self.folder / "ann.faiss"

    def allowed(self, share: float) -> Mask | None:
        """Which rows a filter allows, at random but always the same; None for all."""
        return None if share == 1 else np.random.default_rng(7).random(self.vectors.n_rows) < share


def make(folder: Path, source: Source, n: int, *, n_queries: int, n_choosing: int) -> Made:
    """Write `n` vectors in float16, unless they are there already."""
    described = {"n": n, "dim": source.dim, "seed": source.seed, "queries": [n_queries, n_choosing]}
    told = folder / "made.json"
    if told.exists() and msgspec.json.decode(told.read_bytes())["made"] == described:
        return opened(folder)
    shutil.rmtree(folder, ignore_errors=True)
    shards = source.write(folder, n)
    both = source.queries(n_queries + n_choosing)
    np.savez(folder / "queries.npz", queries=both[:n_queries], choosing=both[n_queries:])
    told.write_bytes(msgspec.json.encode({"made": described, "shards": shards}))
    made = opened(folder)
    found = {str(share): exact_rows(made, share) for share in SHARES}
    np.savez(folder / "exact.npz", **found)
    return opened(folder)


def opened(folder: Path) -> Made:
    """What `make` wrote."""
    told = msgspec.json.decode((folder / "made.json").read_bytes())
    shards = msgspec.convert(told["shards"], list[Shard])
    vectors = ShardedVectors(folder, shards, dim=told["made"]["dim"], transform=None)
    arrays = np.load(folder / "queries.npz")
    exact = {}
    if (folder / "exact.npz").exists():
        exact = {float(share): rows for share, rows in np.load(folder / "exact.npz").items()}
    return Made(folder=folder, vectors=vectors, queries=arrays["queries"], choosing=arrays["choosing"], exact=exact)


def exact_rows(made: Made, share: float) -> Rows:
    """(q, 10) the nearest allowed rows of each query, best first; -1 where there are fewer."""
    allowed = made.allowed(share)
    rows = np.arange(made.vectors.n_rows) if allowed is None else np.flatnonzero(allowed)
    blocks = ((first, made.vectors.rows(rows[first : first + SHARD_ROWS])) for first in range(0, len(rows), SHARD_ROWS))
    out = np.full((len(made.queries), K), -1, np.int64)
    for its, (near, scores) in zip(out, exact_top_k(made.queries, blocks, K), strict=True):
        best = rows[near[np.lexsort((near, -scores))[:K]]]
        its[: len(best)] = best
    return out
