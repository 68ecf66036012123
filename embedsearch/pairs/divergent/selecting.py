"""The most divergent pairs of all, exactly, in passes of blocks; and how many pairs diverge as much.

A block of float32 products only proposes pairs, by bounds that rounding cannot cross; what is chosen is decided by
cosines of `scores`' own summation, so that the answer depends on neither the blocks nor the order of the papers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.errors import OptionError
from embedsearch.pairs.divergent.divergence import BINNING_ERROR, Bins, Bounds, Closer, Divergence
from embedsearch.pairs.scan import Progress
from embedsearch.scores import Float32, Float64, Mask, Rows, product_margin

SIDE = 1024
"""Rows and columns of a block: what is made of it stays within some 50 MB."""
RESCORED = 4096
"""Pairs whose vectors are multiplied at once."""
SPARE = 64
"""How many pairs are kept for each that is asked for: papers that occur in many divergent pairs use them up."""


def pair_cosines(vectors: Float32, first: Rows, second: Rows) -> Float32:
    """The cosines of rows `first` (m,) with rows `second` (m,) of unit rows (n, d): (m,) float32.

    Bit for bit what `scores.cosines` gives, whose order of summation it has, for many pairs at once.
    """
    result = np.empty(len(first), np.float32)
    for start in range(0, len(first), RESCORED):
        chunk = slice(start, start + RESCORED)
        product = vectors[first[chunk]].astype(np.float64) * vectors[second[chunk]]
        result[chunk] = np.add.reduce(product, axis=-1)
    return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """The pairs among which a search looks: all of the aligned unit rows (n, d_A) and (n, d_B).

    `order` (n,) int64 is the place of each paper's id among all ids in order: of pairs that diverge equally, the one
    with the smaller ids comes first. `min_cosine` is asked of the space that finds a pair closer.
    """

    vectors: tuple[Float32, Float32]
    order: Rows
    divergence: Divergence
    min_cosine: float | None = None
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        vectors: Sequence[Float32],
        ids: Sequence[str],
        divergence: Divergence,
        *,
        min_cosine: float | None = None,
        device: str = "cpu",
    ) -> Pool:
        """Of two aligned spaces' vectors and their papers' ids."""
        if len(vectors) != 2 or not len(vectors[0]) == len(vectors[1]) == len(ids):
            raise OptionError(f"expected vectors of {len(ids)} papers in two spaces, found {[len(v) for v in vectors]}")
        order = np.empty(len(ids), np.int64)
        order[sorted(range(len(ids)), key=lambda i: ids[i])] = np.arange(len(ids))
        both = (vectors[0], vectors[1])
        return cls(vectors=both, order=order, divergence=divergence, min_cosine=min_cosine, device=device)

    @property
    def n_papers(self) -> int:
        """n."""
        return len(self.order)

    @property
    def n_pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n_papers * (self.n_papers - 1) // 2

    def cosines(self, first: Rows, second: Rows) -> tuple[Float32, Float32]:
        """Of these pairs in both spaces, as users see them."""
        return pair_cosines(self.vectors[0], first, second), pair_cosines(self.vectors[1], first, second)

    def ties(self, first: Rows, second: Rows) -> Rows:
        """A number for each pair that orders those of equal divergence."""
        a, b = self.order[first], self.order[second]
        tie: Rows = np.minimum(a, b) * self.n_papers + np.maximum(a, b)
        return tie


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A block of rough cosines of papers `row`... with papers `column`...: flat arrays over its r * c pairs."""

    row: int
    column: int
    n_columns: int
    above: Mask | None
    cosines: tuple[Float32, Float32]
    bins: tuple[Bins, Bins]

    def papers(self, at: Rows) -> tuple[Rows, Rows]:
        """The papers of the pairs at these places."""
        return self.row + at // self.n_columns, self.column + at % self.n_columns

    def bins_at(self, at: Rows) -> tuple[Bins, Bins]:
        """The bins of the pairs at these places."""
        return self.bins[0][at], self.bins[1][at]


def blocks(pool: Pool, bounds: Bounds, progress: Progress | None = None) -> Iterator[Block]:
    """All pairs once: blocks on and above the diagonal, in those on it only what is above counts."""
    done = 0
    for row, column, a, b in _products(pool):
        above = np.triu(np.ones(a.shape, bool), 1).ravel() if row == column else None
        flat = (a.ravel(), b.ravel())
        bins = bounds.bins(*flat)
        yield Block(row=row, column=column, n_columns=a.shape[1], above=above, cosines=flat, bins=bins)
        done += a.size if above is None else int(above.sum())
        if progress:
            progress(done, pool.n_pairs)


def _products(pool: Pool) -> Iterator[tuple[int, int, Float32, Float32]]:
    if pool.device != "cpu":
        from embedsearch.device import pick_device, score_blocks  # here: on a CPU nobody waits for torch

        device = pick_device(pool.device)
        pairs = (score_blocks(vectors, device=device, side=SIDE) for vectors in pool.vectors)
        for (row, column, a), (_, _, b) in zip(*pairs, strict=True):
            yield row, column, a, b
        return
    first, second = pool.vectors
    for row in range(0, pool.n_papers, SIDE):
        rows = slice(row, row + SIDE)
        for column in range(row, pool.n_papers, SIDE):
            columns = slice(column, column + SIDE)
            yield row, column, first[rows] @ first[columns].T, second[rows] @ second[columns].T


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Pairs in order: positions, (m,) int64 each; divergences (m,) float64; the numbers of `Pool.ties`."""

    first: Rows
    second: Rows
    divergence: Float64
    tie: Rows

    @classmethod
    def none(cls) -> Found:
        """No pair."""
        empty = np.empty(0, np.int64)
        return cls(first=empty, second=empty, divergence=np.empty(0), tie=empty)

    def __len__(self) -> int:
        return len(self.first)

    def take(self, keep: Rows | Mask) -> Found:
        """Those at these places."""
        return Found(
            first=self.first[keep], second=self.second[keep], divergence=self.divergence[keep], tie=self.tie[keep]
        )

    def best_of(self, other: Found, size: int) -> Found:
        """The first `size` of both together, in order."""
        both = Found(
            first=np.concatenate([self.first, other.first]),
            second=np.concatenate([self.second, other.second]),
            divergence=np.concatenate([self.divergence, other.divergence]),
            tie=np.concatenate([self.tie, other.tie]),
        )
        return both.take(np.lexsort((both.tie, -both.divergence))[:size])


class Heap:
    """The first `size` pairs of one direction behind the pair `after`, without papers that are `full`."""

    def __init__(
        self, pool: Pool, bounds: Bounds, closer: Closer, *, size: int, after: tuple[float, int], full: Mask
    ) -> None:
        self.pool, self.bounds, self.closer, self.size = pool, bounds, closer, size
        self.found = Found.none()
        self._after, self._full = after, full
        side = 0 if closer is Closer.FIRST else 1
        self._side = side
        self._margin = product_margin(pool.vectors[side].shape[1]) + BINNING_ERROR

    @property
    def overflowed(self) -> bool:
        """Whether there may be more pairs than were kept."""
        return len(self.found) == self.size

    def offer(self, block: Block) -> None:
        """Look at a block."""
        threshold = self.found.divergence[-1] if self.overflowed else -np.inf
        possible = self.bounds.upper(block.bins, self.closer) >= threshold
        if block.above is not None:
            possible &= block.above
        if self.pool.min_cosine is not None:
            possible &= block.cosines[self._side] >= self.pool.min_cosine - self._margin
        at = np.flatnonzero(possible)
        if self._full.any():
            first, second = block.papers(at)
            at = at[~(self._full[first] | self._full[second])]
        at = self._narrowed(block, at)
        for start in range(0, len(at), 16 * RESCORED):
            self._decide(*block.papers(at[start : start + 16 * RESCORED]))

    def _narrowed(self, block: Block, at: Rows) -> Rows:
        """Without the pairs that `size` others of this block are certain to come before."""
        if len(at) <= self.size:
            return at
        bins = block.bins_at(at)
        upper, lower = self.bounds.upper(bins, self.closer), self.bounds.lower(bins, self.closer)
        certain = upper < self._after[0]
        if self.pool.min_cosine is not None:
            certain &= block.cosines[self._side][at] >= self.pool.min_cosine + self._margin
        if int(certain.sum()) < self.size:
            return at[lower <= self._after[0]]
        sure = lower[certain]
        kth = np.partition(sure, len(sure) - self.size)[len(sure) - self.size]
        narrowed: Rows = at[(upper >= kth) & (lower <= self._after[0])]
        return narrowed

    def _decide(self, first: Rows, second: Rows) -> None:
        """Score these pairs exactly and keep the best."""
        cosines = self.pool.cosines(first, second)
        divergence = self.pool.divergence(*cosines, self.closer)
        tie = self.pool.ties(first, second)
        last, last_tie = self._after
        keep = (divergence < last) | ((divergence == last) & (tie > last_tie))
        if self.pool.min_cosine is not None:
            keep &= cosines[self._side] >= np.float32(self.pool.min_cosine)
        new = Found(first=first, second=second, divergence=divergence, tie=tie).take(keep)
        self.found = self.found.best_of(new, self.size)
