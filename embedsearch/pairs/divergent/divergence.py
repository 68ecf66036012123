"""How far two spaces disagree on a pair: three measures, and bounds of each from rough cosines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.pairs.histograms import Counts, Joint, Marginal
from embedsearch.pairs.scan import PairScan
from embedsearch.scores import Float32, Float64, product_margin

MIN_GROUP = 1000
"""Pairs that the conditional measure wants to see beside a pair: bins of the first cosine are merged until a group has
as many, so that no share is finer than a thousandth where pairs are rare."""

BINNING_ERROR = 5e-7
"""What finding a cosine's bin in float32 can move it by, in cosine."""
ROUNDING = 1e-12
"""By which an interpolated share may exceed the share at the end of its bin, generously."""

Bins = NDArray[np.int32]


class Measure(Enum):
    """What makes a pair divergent; the value is its name on the command line."""

    RANK = "rank"
    """Difference of the two cosines' percentiles, so that scale drops out: from -1 to 1."""
    CONDITIONAL = "conditional"
    """How improbable the second space's cosine is among pairs whose first cosine is about equal: from 0 to 1."""
    RAW = "raw"
    """Difference of the two cosines."""

    @classmethod
    def of(cls, value: Measure | str) -> Measure:
        """The member of this name; raises OptionError, which lists the names."""
        try:
            return cls(value)
        except ValueError:
            known = ", ".join(member.value for member in cls)
            raise OptionError(f"expected a measure of {known}, found {value!r}") from None


class Closer(Enum):
    """The direction: which of the two spaces finds the papers of a pair closer than the other does."""

    FIRST = "first"
    SECOND = "second"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditional:
    """The distribution of the second cosine in groups of pairs of about equal first cosine.

    Neighbouring bins of the joint histogram's first axis are merged from the lowest on until a group holds at least
    MIN_GROUP pairs; what is left at the top joins the last group. `group` (a,) int64 is the group of each first bin,
    `below` (groups, b + 1) float64 the share of a group's pairs below each edge of the second axis, `n_pairs` (groups,)
    int64.
    """

    joint: Joint
    group: Counts
    below: Float64
    n_pairs: Counts

    @classmethod
    def of(cls, joint: Joint, *, min_group: int = MIN_GROUP) -> Conditional:
        """Merge the bins of `joint`."""
        group = np.zeros(len(joint.counts), np.int64)
        current, held = 0, 0
        for position, n in enumerate(joint.counts.sum(axis=1).tolist()):
            if held >= min_group:
                current, held = current + 1, 0
            group[position] = current
            held += n
        if held < min_group and current:
            group[group == current] = current - 1
        merged = np.zeros((int(group[-1]) + 1, joint.counts.shape[1]), np.int64)
        np.add.at(merged, group, joint.counts)
        n_pairs = merged.sum(axis=1)
        below = np.concatenate([np.zeros((len(merged), 1)), np.cumsum(merged, axis=1)], axis=1) / n_pairs[:, None]
        return cls(joint=joint, group=group, below=below, n_pairs=n_pairs)

    def bins(self, first: Float64) -> Counts:
        """The bin of the first axis that holds each cosine, the nearest for those outside."""
        return _bin(first, self.joint.first_start, self.joint.first_width, len(self.group)).astype(np.int64)

    def cdf(self, first: Float64, second: Float64) -> Float64:
        """The share of a group's pairs below `second`, linear within a bin: (n,) float64 for two of (n,)."""
        n_bins = self.below.shape[1] - 1
        place = np.clip((second - self.joint.second_start) / self.joint.second_width, 0, n_bins)
        low = np.minimum(place.astype(np.int64), n_bins - 1)
        group = self.group[self.bins(first)]
        left, right = self.below[group, low], self.below[group, low + 1]
        share: Float64 = left + (place - low) * (right - left)
        return share


@dataclass(frozen=True, kw_only=True, eq=False)
class Divergence:
    """A measure over the pairs that a scan of two spaces has counted; higher is more divergent.

    With F and G the shares of all pairs below a cosine in either space (`Marginal.cdf`), a and b the two cosines:
    rank is F(a) - G(b) where the first space finds the pair closer, G(b) - F(a) where the second does; raw is a - b
    and b - a; conditional is 1 - C(b | a) and C(b | a), C as in `Conditional`.
    """

    measure: Measure
    first: Marginal
    second: Marginal
    joint: Joint | None = None

    @classmethod
    def of(cls, scan: PairScan, measure: Measure | str = Measure.RANK) -> Divergence:
        """Of the first two spaces of a scan. Raises OptionError where the measure wants a joint and there is none."""
        measure = Measure.of(measure)
        if len(scan.marginals) < 2:
            raise OptionError(f"expected a scan of two spaces, found {len(scan.marginals)}")
        if measure is Measure.CONDITIONAL and not scan.joints:
            raise OptionError("expected a scan with a joint distribution, found none: scan with joint=True")
        joint = scan.joints[0] if scan.joints else None
        return cls(measure=measure, first=scan.marginals[0], second=scan.marginals[1], joint=joint)

    @cached_property
    def conditional(self) -> Conditional:
        """The distribution of the second cosine given the first."""
        if self.joint is None:
            raise OptionError("expected a scan with a joint distribution, found none: scan with joint=True")
        return Conditional.of(self.joint)

    def __call__(self, first: Float32, second: Float32, closer: Closer) -> Float64:
        """Of pairs with these cosines, (n,) each: (n,) float64."""
        a, b = first.astype(np.float64), second.astype(np.float64)
        if self.measure is Measure.CONDITIONAL:
            below = self.conditional.cdf(a, b)
            return 1 - below if closer is Closer.FIRST else below
        if self.measure is Measure.RANK:
            a, b = self.first.cdf(a), self.second.cdf(b)
        return a - b if closer is Closer.FIRST else b - a

    def bounds(self, dims: tuple[int, int]) -> Bounds:
        """Bounds for float32 products of vectors of these two lengths."""
        margins = (product_margin(dims[0]) + BINNING_ERROR, product_margin(dims[1]) + BINNING_ERROR)
        return _ConditionalBounds(self, margins) if self.measure is Measure.CONDITIONAL else _Separable(self, margins)


def _bin(cosine: NDArray[np.floating], start: float, width: float, n_bins: int) -> Bins:
    """The bin of each cosine, the first or last for one that is outside."""
    # In the cosine's own dtype: float32 may fall into a neighbouring bin, which all bounds allow for.
    place = (cosine - cosine.dtype.type(start)) * cosine.dtype.type(1 / width)
    bins: Bins = np.clip(place, 0, n_bins - 1).astype(np.int32)
    return bins


class Bounds:
    """What a measure can be at most and at least where only the bins of two rough cosines are known."""

    def bins(self, first: Float32, second: Float32) -> tuple[Bins, Bins]:
        """The bins of rough cosines, arrays of one shape."""
        raise NotImplementedError

    def upper(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        """No pair in these bins diverges more."""
        raise NotImplementedError

    def lower(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        """No pair in these bins diverges less."""
        raise NotImplementedError


class _Separable(Bounds):
    """Of a difference T(a) - T(b) of rising functions: each end of a bin, moved by what rounding can do."""

    def __init__(self, divergence: Divergence, margins: tuple[float, float]) -> None:
        self._marginals = (divergence.first, divergence.second)
        by_rank = divergence.measure is Measure.RANK
        ends = [_ends(m, margin, by_rank=by_rank) for m, margin in zip(self._marginals, margins, strict=True)]
        (self._low_first, self._high_first), (self._low_second, self._high_second) = ends

    def bins(self, first: Float32, second: Float32) -> tuple[Bins, Bins]:
        a, b = (
            _bin(cosine, m.start, m.width, len(m.counts))
            for cosine, m in zip((first, second), self._marginals, strict=True)
        )
        return a, b

    def upper(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        a, b = bins
        if closer is Closer.FIRST:
            return self._high_first[a] - self._low_second[b]
        return self._high_second[b] - self._low_first[a]

    def lower(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        a, b = bins
        if closer is Closer.FIRST:
            return self._low_first[a] - self._high_second[b]
        return self._low_second[b] - self._high_first[a]


def _ends(marginal: Marginal, margin: float, *, by_rank: bool) -> tuple[Float64, Float64]:
    """T at the lower and at the upper end of what a cosine in each bin can really be: (m,) float64 each."""
    edges, reach = marginal.edges, margin + marginal.width
    low, high = edges[:-1] - reach, edges[1:] + reach
    # The first and last bin also hold what lies outside.
    low[0], high[-1] = min(low[0], -1.001), max(high[-1], 1.001)
    return (marginal.cdf(low) - ROUNDING, marginal.cdf(high) + ROUNDING) if by_rank else (low, high)


class _ConditionalBounds(Bounds):
    """The lowest and highest C(b | a) in and around each cell of the joint histogram: two (a, b) float64 tables."""

    def __init__(self, divergence: Divergence, margins: tuple[float, float]) -> None:
        conditional = divergence.conditional
        self._joint = joint = conditional.joint
        reach = [
            int(np.ceil(margin / width)) + 1
            for margin, width in zip(margins, (joint.first_width, joint.second_width), strict=True)
        ]
        n_first, n_second = joint.counts.shape
        columns = np.arange(n_second)
        low = conditional.below[:, np.maximum(columns - reach[1], 0)]
        high = conditional.below[:, np.minimum(columns + 1 + reach[1], n_second)]
        # Beyond the ends there may be cosines too: they have share 0 and 1.
        low[:, 0], high[:, -1] = 0.0, 1.0
        self._low, self._high = np.empty((n_first, n_second)), np.empty((n_first, n_second))
        for row in range(n_first):
            near = slice(
                int(conditional.group[max(row - reach[0], 0)]),
                int(conditional.group[min(row + reach[0], n_first - 1)]) + 1,
            )
            self._low[row] = low[near].min(axis=0) - ROUNDING
            self._high[row] = high[near].max(axis=0) + ROUNDING

    def bins(self, first: Float32, second: Float32) -> tuple[Bins, Bins]:
        j = self._joint
        n_first, n_second = j.counts.shape
        a = _bin(first, j.first_start, j.first_width, n_first)
        return a, _bin(second, j.second_start, j.second_width, n_second)

    def upper(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        return 1 - self._low[bins] if closer is Closer.FIRST else self._high[bins]

    def lower(self, bins: tuple[Bins, Bins], closer: Closer) -> Float64:
        return 1 - self._high[bins] if closer is Closer.FIRST else self._low[bins]
