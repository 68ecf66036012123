"""How good an index is, and how it is set: recall of the exact ten, and the time of a query.

Half of the queries choose how many lists are read and how many rows re-scored, the other half says what that gives.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.ann.kinds import MEASURED_HITS, IvfIndex
from embedsearch.ann.protocol import AnnIndex
from embedsearch.scores import Float32, Float64, Rows, cosines
from embedsearch.store.generation import AnnMeasure
from embedsearch.store.vectors import ShardedVectors

RESCORED = (10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 1000)
PROBED = tuple(n for i in range(20) for n in ((2**i, 3 * 2 ** (i - 1)) if i else (1,)))  # 1, 2, 3, 4, 6, 8, 12, ...
MARGIN = 2.0
"""Standard errors by which the choosing half must be above the target, so that the other half is as well."""

NO_GAIN = 0.0005
"""Recall that twice the lists must add, or what is missed is for the codes to find."""

TIMED = 64
ROWS_AS_QUERIES = 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """Queries to measure with: (q, d) unit rows. `own` (q,) are the rows that they are, which do not count; None where
    they are no rows. `source` says what they are."""

    vectors: Float32
    own: Rows | None = None
    source: str

    def every_other(self, first: int) -> Probes:
        """One half of them."""
        own = None if self.own is None else self.own[first::2]
        return Probes(vectors=self.vectors[first::2], own=own, source=self.source)


def rows_as_probes(vectors: ShardedVectors, n: int | None = None) -> Probes:
    """Stored vectors, for want of queries: each is left out of what it should find and of what it finds."""
    rows = spread(vectors.n_rows, min(n or ROWS_AS_QUERIES, vectors.n_rows))
    return Probes(vectors=vectors.rows(rows), own=rows, source="rows")


def spread(n: int, m: int) -> Rows:
    """m of n rows, chosen at random but always the same."""
    return np.sort(np.random.default_rng(0).choice(n, m, replace=False)).astype(np.int64)


class Nearest:
    """The exact ten of each query among vectors that go by in blocks, to the rounding of float32."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._n_best = MEASURED_HITS + (probes.own is not None)
        n_queries = len(probes.vectors)
        self._queries: Rows = np.empty(0, np.int64)  # of each row found so far, in their order, the best first
        self._rows: Rows = np.empty(0, np.int64)
        self._scores: Float32 = np.empty(0, np.float32)
        self._least = np.full(n_queries, -np.inf, np.float32)

    def add(self, first: int, block: Float32) -> None:
        """Look at (n, d) unit rows, the first of which is row `first`."""
        scores = self._probes.vectors @ block.T
        least = self._least
        if len(block) > self._n_best and np.isneginf(least).any():
            least = np.maximum(least, np.partition(scores, -self._n_best)[:, -self._n_best])
        queries, columns = np.nonzero(scores >= least[:, None])
        found = np.concatenate([self._scores, scores[queries, columns]])
        rows, queries = np.concatenate([self._rows, columns + first]), np.concatenate([self._queries, queries])
        order = np.lexsort((rows, -found, queries))
        starts = np.searchsorted(queries[order], np.arange(len(scores)))
        kept = order[np.arange(len(order)) - starts[queries[order]] < self._n_best]
        self._queries, self._rows, self._scores = queries[kept], rows[kept], found[kept]
        ends = np.append(np.searchsorted(self._queries, np.arange(1, len(scores))), len(kept))
        is_full = np.bincount(self._queries, minlength=len(scores)) == self._n_best
        self._least = np.where(is_full, self._scores[ends - 1] if len(kept) else -np.inf, -np.inf).astype(np.float32)

    def rows(self) -> list[Rows]:
        """For each query up to ten rows, itself not among them."""
        found = []
        for i in range(len(self._probes.vectors)):
            its = self._rows[self._queries == i]
            its = its if self._probes.own is None else its[its != self._probes.own[i]]
            found.append(its[:MEASURED_HITS])
        return found


@dataclass(frozen=True, slots=True)
class Setting:
    """How an index is searched."""

    n_probe: int
    rescored: int


def best_setting(
    index: IvfIndex, vectors: ShardedVectors, probes: Probes, truth: Sequence[Rows], *, target: float
) -> tuple[Setting, bool]:
    """The fastest setting whose recall is above `target` by MARGIN standard errors, and True; else the one of highest
    recall, and False."""
    reaching: list[Setting] = []
    best, before, highest = Setting(index.n_lists, RESCORED[-1]), {}, -1.0
    most = min(RESCORED[-1] + 1, len(index))
    for n_probe in sorted({min(n, index.n_lists) for n in PROBED}):
        place = _places(index.ranked(probes.vectors, most, n_probe), probes.own, truth)
        recalls = {n: shares(place, n) for n in RESCORED}
        n_enough = next((n for n, share in recalls.items() if _lower(share) >= target), None)
        if n_enough is not None:
            if reaching and n_enough == reaching[-1].rescored:
                break  # more lists need as many rows: dearer in all
            reaching.append(Setting(n_probe, n_enough))
        means = {n: float(share.mean()) for n, share in recalls.items()}
        if means[RESCORED[-1]] > highest:
            highest = means[RESCORED[-1]]
            best = Setting(n_probe, next(n for n, mean in means.items() if mean >= highest))
        before[n_probe] = highest
        if not reaching and highest - before.get(n_probe // 2, -1.0) < NO_GAIN:
            break
    if not reaching:
        return best, False
    return _fastest(index, vectors, probes.vectors[:TIMED], reaching), True


def measure(
    index: AnnIndex,
    vectors: ShardedVectors,
    probes: Probes,
    truth: Sequence[Rows] | None,
    *,
    target: float,
) -> tuple[float, AnnMeasure]:
    """(recall, how it was measured and the rest). `truth` None: of an index that is exact."""
    share = np.ones(len(probes.vectors))
    if truth is not None and len(share):
        share = _found(index.candidates(probes.vectors, MEASURED_HITS), probes.own, truth)
    milliseconds = 1e3 * seconds(index, vectors, probes.vectors)
    return float(share.mean()) if len(share) else 1.0, AnnMeasure(
        queries=probes.source,
        n_queries=len(share),
        recall_error=standard_error(share),
        latency_ms=float(np.median(milliseconds)) if len(share) else 0.0,
        latency_error_ms=_error_of_median(milliseconds),
        target=target,
    )


def shares(places: Float64, rescored: int) -> Float64:
    """Of each query, the share of its exact ten that is among the first so many. `places` is (q, 10), NaN for none."""
    counted = ~np.isnan(places)
    n_counted = counted.sum(axis=1)
    found: Float64 = np.where(n_counted, (places < rescored).sum(axis=1) / np.maximum(n_counted, 1), 1.0)
    return found


def standard_error(values: Float64) -> float:
    """Of the mean of `values` (n,); 0 where one value says nothing of it."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def seconds(index: AnnIndex, vectors: ShardedVectors, queries: Float32) -> Float64:
    """How long each of `queries` (q, d) takes alone, re-scored, at the second time: (q,)."""
    taken = np.zeros(len(queries))
    for _ in range(2):
        for i, query in enumerate(queries):
            start = time.perf_counter()
            (rows,) = index.candidates(query[None], MEASURED_HITS)
            cosines(query, vectors.rows(rows))
            taken[i] = time.perf_counter() - start
    return taken


def _places(ranked: Rows, own: Rows | None, truth: Sequence[Rows]) -> Float64:
    """Where each of the exact ten stands in `ranked` (q, n), its query's own row left out: (q, 10). Infinite for one
    that is not there, NaN where a query has fewer than ten."""
    places = np.full((len(ranked), MEASURED_HITS), np.nan)
    for i, (rows, true) in enumerate(zip(ranked, truth, strict=True)):
        rows = rows if own is None else rows[rows != own[i]]
        order = np.argsort(rows, kind="stable")
        at = order[np.minimum(np.searchsorted(rows, true, sorter=order), len(rows) - 1)] if len(rows) else 0
        places[i, : len(true)] = np.where(rows[at] == true, at, np.inf) if len(rows) else np.inf
    return places


def _found(candidates: Sequence[Rows], own: Rows | None, truth: Sequence[Rows]) -> Float64:
    """Of each query, the share of its exact ten that is among its candidates, itself left out: (q,)."""
    own = np.full(len(truth), -1) if own is None else own
    found = zip(candidates, own, truth, strict=True)
    return np.array([np.isin(true, rows[rows != me]).mean() if len(true) else 1.0 for rows, me, true in found])


def _lower(share: Float64) -> float:
    return float(share.mean()) - MARGIN * standard_error(share)


def _fastest(index: IvfIndex, vectors: ShardedVectors, queries: Float32, settings: Sequence[Setting]) -> Setting:
    """In turn, and twice: what else the machine does then slows all of them."""
    taken = np.full((2, len(settings)), np.inf)
    for i in range(2) if len(settings) > 1 else ():
        for j, setting in enumerate(settings):
            index.set(n_probe=setting.n_probe, rescored=setting.rescored)
            taken[i, j] = np.median(seconds(index, vectors, queries))
    return settings[int(taken.min(axis=0).argmin())]


def _error_of_median(values: Float64) -> float:
    """By bootstrap (Efron 1979): the spread of the medians of samples drawn from the values, of as many."""
    if len(values) < 2:
        return 0.0
    drawn = np.random.default_rng(0).choice(values, (200, len(values)))
    return float(np.median(drawn, axis=1).std(ddof=1))
