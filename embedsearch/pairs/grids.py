"""Bins of a width that is a power of two, and tables of counts that follow what is observed.

Such edges are exact in float32, so a cosine's bin is exact too, and two bins become one by adding counts. So a count
can begin without knowing the range: as the range grows, the table moves or bins are merged, and what comes out is a
function of the range and the cosines alone, not of the order in which they came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from embedsearch.pairs.histograms import Counts

FINEST = 24
"""Bins narrower than 2^-24 would lie closer together than the float32 numbers near 1."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Bins of width 2^-log2 over a range; bin k of them holds cosines from k 2^-log2 to below (k + 1) 2^-log2."""

    log2: int
    first: int
    last: int

    @classmethod
    def over(cls, low: float, high: float, *, at_least: int, covering: tuple[float, float] | None = None) -> Grid:
        """The coarsest grid that has `at_least` bins over [low, high], or the finest there is where none has.

        `covering`: of the same width, but over this wider range.
        """
        log2 = FINEST if high <= low else min(FINEST, max(1, math.ceil(math.log2(at_least / (high - low)))))
        first, last = covering or (low, high)
        return cls(log2, math.floor(first * 2.0**log2), math.floor(last * 2.0**log2))

    @property
    def n_bins(self) -> int:
        """Bins from the one that holds the lowest cosine to the one that holds the highest."""
        return self.last - self.first + 1

    @property
    def width(self) -> float:
        """Of one bin."""
        return 2.0**-self.log2

    @property
    def start(self) -> float:
        """Lower edge of the first bin."""
        return self.first * self.width


def regrid(counts: Counts, old: Grid, new: Grid, *, axis: int = 0) -> Counts:
    """Counts on `old` along `axis`, as counts on `new`, which is as fine or coarser: int64.

    Every count must lie within `new`; bins of `old` beyond it are taken to be empty.
    """
    moved = np.moveaxis(counts, axis, 0)
    out = np.zeros((new.n_bins, *moved.shape[1:]), np.int64)
    shift = old.log2 - new.log2
    begin, end = max(old.first, new.first << shift), min(old.last + 1, (new.last + 1) << shift)
    inside = moved[begin - old.first : end - old.first]
    if not shift:
        out[begin - new.first : end - new.first] = inside
    else:
        bins = (np.arange(begin, end) >> shift) - new.first
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        out[bins[starts]] = np.add.reduceat(inside, starts, axis=0)
    return np.moveaxis(out, 0, axis)
