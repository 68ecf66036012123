"""The n most divergent pairs in which each paper occurs at most so often; how many pairs diverge as much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from embedsearch.errors import OptionError
from embedsearch.pairs.divergent.divergence import BINNING_ERROR, Bounds, Closer
from embedsearch.pairs.divergent.selecting import RESCORED, SPARE, Block, Found, Heap, Pool, blocks
from embedsearch.pairs.histograms import Counts
from embedsearch.pairs.scan import Progress
from embedsearch.scores import Float64, Mask, product_margin


def most_divergent(
    pool: Pool,
    *,
    n: int,
    per_paper: int | None = 1,
    closers: Sequence[Closer] = tuple(Closer),
    heap_size: int | None = None,
    progress: Progress | None = None,
) -> dict[Closer, Found]:
    """For each direction the `n` most divergent pairs, fewer where there are no more.

    Pairs are taken greedily in the order of all pairs: by divergence, then by ids; a pair of which a paper occurs in
    `per_paper` taken pairs already is passed over (None: any number). One pass over all pairs keeps the first
    `heap_size` of each direction; where these run out since a few papers filled them, another pass looks behind the
    last of them for pairs without those papers, as often as it takes. Raises OptionError for an `n` or `per_paper`
    below 1.
    """
    if n < 1 or (per_paper is not None and per_paper < 1):
        raise OptionError(f"expected at least 1 pair, and 1 pair a paper, found {n} and {per_paper}")
    size = heap_size or max(SPARE * n, 1024)
    bounds = pool.divergence.bounds((pool.vectors[0].shape[1], pool.vectors[1].shape[1]))
    tasks = {closer: _Greedy(n, per_paper, np.zeros(pool.n_papers, np.int64)) for closer in closers}
    while open_tasks := {closer: task for closer, task in tasks.items() if not task.finished}:
        heaps = {
            closer: Heap(pool, bounds, closer, size=size, after=task.after, full=task.full)
            for closer, task in open_tasks.items()
        }
        for block in blocks(pool, bounds, progress):
            for heap in heaps.values():
                heap.offer(block)
        for closer, task in open_tasks.items():
            task.go_on(heaps[closer])
    return {closer: task.taken for closer, task in tasks.items()}


@dataclass(slots=True)
class _Greedy:
    """How far one direction's list is; `counts` says in how many taken pairs each paper occurs."""

    n: int
    per_paper: int | None
    counts: Counts
    taken: Found = field(default_factory=Found.none)
    after: tuple[float, int] = (float("inf"), -1)
    finished: bool = False

    @property
    def full(self) -> Mask:
        """The papers that may occur in no further pair."""
        if self.per_paper is None:
            return np.zeros(len(self.counts), bool)
        return np.greater_equal(self.counts, self.per_paper)

    def go_on(self, heap: Heap) -> None:
        """Take from the pairs of a pass, which are the next of all pairs in order."""
        found = heap.found
        keep: list[int] = []
        for place, (first, second) in enumerate(zip(found.first.tolist(), found.second.tolist(), strict=True)):
            if len(self.taken) + len(keep) == self.n:
                break
            if self.per_paper is None or max(self.counts[first], self.counts[second]) < self.per_paper:
                self.counts[[first, second]] += 1
                keep.append(place)
        self.taken = self.taken.best_of(found.take(np.array(keep, np.int64)), self.n)
        self.finished = len(self.taken) == self.n or not heap.overflowed
        if len(found):
            self.after = (float(found.divergence[-1]), int(found.tie[-1]))


def count_at_least(
    pool: Pool, thresholds: dict[Closer, Float64], *, progress: Progress | None = None
) -> dict[Closer, Counts]:
    """How many pairs of each direction diverge at least so much: (t,) int64 for each (t,) float64 of thresholds.

    Counted from the bounds of rough products where these are certain, from exact cosines where they are not.
    """
    bounds = pool.divergence.bounds((pool.vectors[0].shape[1], pool.vectors[1].shape[1]))
    rising = {closer: np.sort(values) for closer, values in thresholds.items() if len(values)}
    passed = {closer: np.zeros(len(values) + 1, np.int64) for closer, values in rising.items()}
    if rising:
        for block in blocks(pool, bounds, progress):
            for closer, values in rising.items():
                passed[closer] += _counted(pool, bounds, block, closer, values)
    result = {closer: np.zeros(0, np.int64) for closer in thresholds}
    for closer, values in rising.items():
        at_least = np.cumsum(passed[closer][::-1])[::-1][1:]  # passed[k]: pairs at or above exactly k thresholds
        result[closer] = at_least[np.searchsorted(values, thresholds[closer])]
    return result


def _counted(pool: Pool, bounds: Bounds, block: Block, closer: Closer, rising: Float64) -> Counts:
    """(t + 1,) int64: how many pairs of the block lie at or above exactly k of the t rising thresholds."""
    side = 0 if closer is Closer.FIRST else 1
    possible = bounds.upper(block.bins, closer) >= rising[0]
    if block.above is not None:
        possible &= block.above
    at = np.flatnonzero(possible)
    bins = block.bins_at(at)
    least = np.searchsorted(rising, bounds.lower(bins, closer), side="right")
    certain = least == np.searchsorted(rising, bounds.upper(bins, closer), side="right")
    if pool.min_cosine is not None:
        rough, margin = block.cosines[side][at], product_margin(pool.vectors[side].shape[1]) + BINNING_ERROR
        certain &= np.abs(rough - pool.min_cosine) > margin
        keep = ~certain | (rough > pool.min_cosine)
        at, least, certain = at[keep], least[keep], certain[keep]
    counts = np.bincount(least[certain], minlength=len(rising) + 1)
    unsure = at[~certain]
    for start in range(0, len(unsure), 16 * RESCORED):
        cosines = pool.cosines(*block.papers(unsure[start : start + 16 * RESCORED]))
        reached = np.searchsorted(rising, pool.divergence(*cosines, closer), side="right")
        if pool.min_cosine is not None:
            reached = reached[cosines[side] >= np.float32(pool.min_cosine)]
        counts += np.bincount(reached, minlength=len(rising) + 1)
    return counts
