"""Blocks of cosines and what is counted of them, on the processor: BLAS for the products, compiled loops for the rest.

`open_engine` gives this or, for another device, `device.PairEngine`, which does the same in torch's operations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from embedsearch.errors import OptionError
from embedsearch.pairs.histograms import Counts
from embedsearch.scores import Float32, Float64

SIDE = 1024
"""Rows and columns of a block on the processor: 4 MiB a space, large enough for BLAS and small enough for a cache."""

Ints = NDArray[np.int64]


class Engine(Protocol):
    """Holds one block of cosines of each of s spaces at a time."""

    side: int

    @property
    def block(self) -> Float32:
        """(s, r, c)."""

    def load(self, top: int, bottom: int, left: int, right: int) -> None:
        """Compute the block of these rows and columns; where top == left only the pairs above the diagonal count."""

    def measure(self) -> tuple[Float64, Float64]:
        """(s, 2) minimum and maximum, (s, 3) sums of the cosines, their squares, their products with space 0's."""

    def open(self, scales: Float64, firsts: Ints, sizes: Ints, cells: tuple[Float64, Ints, Ints] | None) -> None:
        """Begin empty tables: of each space `sizes` bins from `firsts` on, `scales` to a cosine; `cells` of joints."""

    def count(self) -> None:
        """Add the block to the tables."""

    def close(self) -> tuple[list[Counts], list[Counts]]:
        """The tables, (2, size) of each space and (a, b) of the first space with each other, int64."""

    def bin(self, by: int, edges: Float32, fine: Float64, counts: Counts, sums: Float64) -> None:
        """Add the block to `counts` (s, b, m) int64 and the papers' `sums` (n, b, 1 + 2 s), as `kernels.bin_rows`."""


def blocks(n: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of the blocks on and above the diagonal of n x n."""
    for top in range(0, n, side):
        for left in range(top, n, side):
            yield top, min(top + side, n), left, min(left + side, n)


def pairs_in(top: int, bottom: int, left: int, right: int) -> int:
    """How many pairs i < j a block has."""
    rows = bottom - top
    return rows * (rows - 1) // 2 if top == left else rows * (right - left)


def open_engine(
    vectors: Sequence[Float32], *, groups: Ints | None = None, fast: bool = False, device: str = "cpu"
) -> Engine:
    """The engine for this device; raises OptionError for a device that is not here, or vectors that do not fit."""
    check_vectors(vectors)
    if device == "cpu":
        return CpuEngine(vectors, groups=groups, fast=fast)
    from embedsearch.device import PairEngine, pick_device

    found = pick_device(device)
    if found.type == "cpu":
        return CpuEngine(vectors, groups=groups, fast=fast)
    if found.type != "cuda":
        raise OptionError(f"expected cpu or cuda to count pairs on, found {device}: it has no float64 to sum in")
    return PairEngine(vectors, groups=groups, fast=fast, device=found)


def check_vectors(vectors: Sequence[Float32]) -> None:
    """Raise OptionError unless these are aligned unit rows of at least 2 papers: indices are computed from them."""
    if not len(vectors):
        raise OptionError("expected the vectors of at least one space, found none")
    shapes = [np.shape(rows) for rows in vectors]
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1 or shapes[0][0] < 2:
        raise OptionError(f"expected (n, d) vectors of the same n papers in each space, n at least 2, found {shapes}")
    for rows in vectors:
        for first in range(0, len(rows), 8192):
            part = rows[first : first + 8192]
            lengths = np.einsum("ij,ij->i", part, part)
            bad = np.flatnonzero(~(np.abs(lengths - 1) < 1e-2))
            if len(bad):
                row = int(bad[0])
                raise OptionError(
                    f"expected rows of length one, found one of length {np.sqrt(lengths[row]):.3g} at position "
                    f"{first + row}: bring them to it with embedsearch.scores.unit_rows"
                )


def product_error(vectors: Sequence[Float32], engine: Engine, *, n: int = 512) -> float:
    """Largest difference between the engine's cosines and those in float64, of the pairs of the first n papers."""
    engine.load(0, (m := min(n, engine.side, len(vectors[0]))), 0, m)
    extremes = [
        np.abs(block - rows[:m].astype(np.float64) @ rows[:m].T.astype(np.float64))[np.triu_indices(m, 1)].max()
        for block, rows in zip(engine.block, vectors, strict=True)
    ]
    return float(max(extremes))


class CpuEngine:
    """See `Engine`. Memory: a block a space, and a set of tables a thread."""

    side = SIDE

    def __init__(self, vectors: Sequence[Float32], *, groups: Ints | None = None, fast: bool = False) -> None:
        from embedsearch.pairs import kernels

        self._kernels = kernels
        self._vectors = [np.ascontiguousarray(rows, np.float32) for rows in vectors]
        self._groups: Ints = np.empty(0, np.int64) if groups is None else np.ascontiguousarray(groups, np.int64)
        self._buffer = np.empty(len(vectors) * min(self.side, len(vectors[0])) ** 2, np.float32)
        self._product = _bfloat16_product() if fast else _float32_product
        self._blas = None if fast else ThreadpoolController().select(user_api="blas")
        self._n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._n_threads) if self._n_threads > 1 else None
        self._tables: list[tuple[list[Any], list[Any]]] = []
        self._n_counted = 0

    @property
    def block(self) -> Float32:
        """See `Engine`."""
        return self._block

    def load(self, top: int, bottom: int, left: int, right: int) -> None:
        """See `Engine`."""
        shape = (len(self._vectors), bottom - top, right - left)
        self._block = self._buffer[: np.prod(shape)].reshape(shape)
        self._place, self._step = (top, bottom, left, right), int(top == left)

        def multiply(_: int, a: int, b: int) -> None:
            for rows, out in zip(self._vectors, self._block, strict=True):
                self._product(rows[top + a : top + b], rows[left:right], out[a:b])

        if self._blas is None:
            multiply(0, 0, bottom - top)
        else:  # BLAS's own threads spin for a while after a product, and would be in the way of counting
            with self._blas.limit(limits=1):
                self._share(bottom - top, multiply)

    def measure(self) -> tuple[Float64, Float64]:
        """See `Engine`."""
        n = len(self._block)
        parts = [(np.empty((n, 2), np.float32), np.empty((n, 3))) for _ in range(self._n_threads)]
        self._share(
            self._block.shape[1], lambda t, a, b: self._kernels.measure(self._block, a, b, self._step, *parts[t])
        )
        extremes = np.stack([part[0] for part in parts]).astype(np.float64)
        ranges = np.stack([extremes[:, :, 0].min(axis=0), extremes[:, :, 1].max(axis=0)], axis=1)
        return ranges, np.sum([part[1] for part in parts], axis=0)

    def open(self, scales: Float64, firsts: Ints, sizes: Ints, cells: tuple[Float64, Ints, Ints] | None) -> None:
        """See `Engine`."""
        self._scales, self._firsts = scales.astype(np.float32), firsts.astype(np.int32)
        self._cells = None if cells is None else (cells[0].astype(np.float32), cells[1].astype(np.int32))
        self._tables = []
        for _ in range(self._n_threads):
            joints = []
            for size in [] if cells is None else cells[2][1:]:
                shape = (int(cells[2][0]), int(size)) if cells is not None else (0, 0)
                joints.append((np.zeros(shape, np.uint16), np.zeros(shape, np.int64)))
            self._tables.append(([np.zeros((2, size), np.uint32) for size in sizes], joints))
        self._totals = [np.zeros((2, size), np.int64) for size in sizes]
        self._n_counted, self._carried = 0, False

    def count(self) -> None:
        """See `Engine`."""
        if self._n_counted > 2**31:  # what 32 bits surely hold
            self._empty_marginals()
        self._n_counted += self._block[0].size
        self._share(self._block.shape[1], self._count)

    def _count(self, thread: int, top: int, bottom: int) -> None:
        first, end, left, right = self._place
        groups = self._groups[first:end], self._groups[left:right]
        marginals, joints = self._tables[thread]
        rows = (top, bottom, self._step)
        for s, table in enumerate(marginals):
            self._kernels.count(self._block[s], *rows, self._scales[s], self._firsts[s], *groups, table)
        for s, (table, carry) in enumerate(joints, 1):
            assert self._cells is not None
            pick = [0, s]
            scales, firsts = self._cells[0][pick], self._cells[1][pick]
            args = (self._block[0], self._block[s], *rows, scales, firsts, table, carry)
            if self._kernels.count_joint(*args):
                self._carried = True

    def _empty_marginals(self) -> None:
        for marginals, _ in self._tables:
            for total, table in zip(self._totals, marginals, strict=True):
                total += table
                table[:] = 0
        self._n_counted = 0

    def close(self) -> tuple[list[Counts], list[Counts]]:
        """See `Engine`."""
        self._empty_marginals()
        joints: list[Counts] = []
        for s in range(len(self._tables[0][1])):
            tables = [joints[s] for _, joints in self._tables]
            total = np.zeros(tables[0][0].shape, np.int64)
            for table, carry in tables:
                total += table
                if self._carried:  # else nothing was ever written there, and it takes no memory
                    total += carry
            joints.append(total)
        self._tables = []
        return self._totals, joints

    def bin(self, by: int, edges: Float32, fine: Float64, counts: Counts, sums: Float64) -> None:
        """See `Engine`."""
        top, bottom, left, right = self._place
        parts = [np.zeros(counts.shape, np.uint32) for _ in range(self._n_threads)]
        plan = (self._step, by, edges, fine)

        def rows(thread: int, a: int, b: int) -> None:
            self._kernels.bin_rows(self._block, a, b, *plan, parts[thread], sums[top:bottom])

        def columns(thread: int, a: int, b: int) -> None:
            self._kernels.bin_columns(self._block, a, b, *plan, sums[left:right])

        self._share(bottom - top, rows)
        self._share(right - left, columns)
        for part in parts:
            counts += part

    def _share(self, n: int, work: Callable[[int, int, int], None]) -> None:
        """Call work(thread, from, to) so that all of n is done, each part by one thread."""
        stops = [n * t // self._n_threads for t in range(self._n_threads + 1)]
        calls = [(t, stops[t], stops[t + 1]) for t in range(self._n_threads)]
        if self._pool is None:
            work(*calls[0])
        else:
            list(self._pool.map(lambda call: work(*call), calls))


def _float32_product(a: Float32, b: Float32, out: Float32) -> None:
    np.matmul(a, b.T, out=out)


def _bfloat16_product() -> Callable[[Float32, Float32, Float32], None]:
    from embedsearch.device import bfloat16_product

    return bfloat16_product
