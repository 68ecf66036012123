"""All pairs of papers whose cosine is at least so high, by blocks: none is missed.

A float32 product narrows them down, by a margin that its rounding cannot cross; `scores.cosines` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from embedsearch.scores import Float32, Mask, Rows, cosines, product_margin

Read = Callable[[int, int], Float32]
"""The unit rows, (m, d) float32, of the papers at positions `first` to `end` - 1."""
Progress = Callable[[int, int], None]
"""Called with what is done, and of how much."""

SIDE = 2048
"""Rows and columns of a block: 16 MiB of cosines."""
STRIP_NUMBERS = 2**26
"""float32 numbers (256 MiB) that are held while all others pass: of 384 dimensions 174,000 papers."""

EQUAL = 1 - 2.0**-22
"""Cosine of vectors that are the same, or nearly: the length of a stored row is 1 but for rounding, and so is what it
has with itself."""


def threshold(min_cosine: float) -> float:
    """The cosine from which on a pair counts: `min_cosine` as float32 has it, and at most EQUAL."""
    return min(float(np.float32(min_cosine)), EQUAL)


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Pairs of a block that may be near: `first` and `second` (m,) int64 positions, first < second, and their rough
    cosines (m,) float32, which are wrong by at most `margin`."""

    first: Rows
    second: Rows
    rough: Float32
    margin: float
    _places: tuple[NDArray[np.int64], NDArray[np.int64]]
    _blocks: tuple[Float32, Float32]

    def exact(self, chosen: Mask) -> Float32:
        """The cosines of the chosen pairs, (c,) float32."""
        rows, columns = self._places[0][chosen], self._places[1][chosen]
        return cosines_of_pairs(self._blocks[0], self._blocks[1], rows, columns)

    def at_least(self, min_cosine: float) -> Mask:
        """Which of the pairs have a cosine of at least this: (m,)."""
        found: Mask = self.rough >= threshold(min_cosine) + self.margin
        open_ones = ~found
        found[open_ones] = self.exact(open_ones) >= threshold(min_cosine)
        return found


def cosines_of_pairs(left: Float32, right: Float32, rows: Rows, columns: Rows) -> Float32:
    """Of `left[rows[i]]` with `right[columns[i]]`: (m,) float32. Quickest where equal `rows` stand together."""
    found = np.empty(len(rows), np.float32)
    for start, end in pairwise([*np.flatnonzero(np.diff(rows, prepend=-1)), len(rows)]):
        found[start:end] = cosines(left[rows[start]], right[columns[start:end]])
    return found


def scan(read: Read, n: int, min_cosine: float, *, progress: Progress | None = None) -> Iterator[Near]:
    """All pairs of n papers that may have a cosine of at least `min_cosine`, block by block. Memory: a strip of
    STRIP_NUMBERS, and some blocks. `progress` is called with pairs."""
    if n < 2:
        return
    dim = read(0, 1).shape[1]
    strip_rows = max(SIDE, STRIP_NUMBERS // dim // SIDE * SIDE)
    n_done, n_pairs = 0, n * (n - 1) // 2
    for begin in range(0, n, strip_rows):
        strip = read(begin, min(begin + strip_rows, n))
        for start in range(begin, n, SIDE):
            inside = start < begin + len(strip)
            columns = strip[start - begin : start - begin + SIDE] if inside else read(start, min(start + SIDE, n))
            for top in range(begin, min(start + 1, begin + len(strip)), SIDE):
                rows = strip[top - begin : top - begin + SIDE]
                yield _near(rows, columns, top, start, min_cosine)
                n_done += len(rows) * (len(rows) - 1) // 2 if top == start else len(rows) * len(columns)
                if progress is not None:
                    progress(n_done, n_pairs)


def _near(left: Float32, right: Float32, top: int, start: int, min_cosine: float) -> Near:
    margin = product_margin(left.shape[1])
    block = left @ right.T
    rows, columns = _places(block, threshold(min_cosine) - margin)
    above = rows + top < columns + start
    rows, columns = rows[above], columns[above]
    return Near(rows + top, columns + start, block[rows, columns], margin, (rows, columns), (left, right))


def _places(block: Float32, least: float) -> tuple[Rows, Rows]:
    """Rows and columns where a block is at least so high. The best of each row first: to look for places takes ten
    times as long, and most rows have none."""
    some = np.flatnonzero(block.max(axis=1) >= least)
    at, columns = np.nonzero(block[some] >= least)
    return some[at], columns


def near_to(vectors: Float32, read: Read, n: int, min_cosine: float) -> Iterator[tuple[Rows, Rows]]:
    """(which of `vectors` (m, d), position among n papers), (p,) each, where the cosine is at least `min_cosine`: block
    by block."""
    for start in range(0, n, SIDE):
        columns = read(start, min(start + SIDE, n))
        for top in range(0, len(vectors), SIDE):
            rows = vectors[top : top + SIDE]
            at, other = _places(rows @ columns.T, threshold(min_cosine) - product_margin(rows.shape[1]))
            is_near = cosines_of_pairs(rows, columns, at, other) >= threshold(min_cosine)
            yield at[is_near] + top, other[is_near] + start
