"""What was counted of all pairs: fine distributions, joint distributions, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedsearch.errors import OptionError
from embedsearch.scores import Float64

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marginal:
    """The distribution of one space's cosines: `counts` (m,) int64 in bins of equal width from `start` on.

    `minimum` and `maximum` are the cosines observed, float64.
    """

    start: float
    width: float
    counts: Counts
    minimum: float
    maximum: float

    @property
    def n_pairs(self) -> int:
        """Pairs counted."""
        return int(self.counts.sum())

    @property
    def edges(self) -> Float64:
        """(m + 1,) float64."""
        return np.asarray(self.start + self.width * np.arange(len(self.counts) + 1), np.float64)

    def cdf(self, cosine: ArrayLike) -> Float64:
        """The share of the pairs below each cosine, linear within a bin: float64 of the same shape."""
        below = np.concatenate([[0], np.cumsum(self.counts)]) / self.n_pairs
        return np.asarray(np.interp(np.asarray(cosine, np.float64), self.edges, below))

    def quantile(self, share: ArrayLike) -> Float64:
        """The cosine below which this share of the pairs lies, linear within a bin: the inverse of `cdf`."""
        wanted = np.asarray(share, np.float64) * self.n_pairs
        below = np.concatenate([[0], np.cumsum(self.counts)])
        # The bin in which so many are reached has pairs; bins without any, on either side of it, have no say.
        upper = np.clip(np.searchsorted(below, wanted), 1, len(below) - 1)
        inside = (wanted - below[upper - 1]) / np.maximum(self.counts[upper - 1], 1)
        cosine = self.start + self.width * (upper - 1 + np.clip(inside, 0, 1))
        return np.asarray(np.clip(cosine, self.minimum, self.maximum))

    def bin_edges(self, n_bins: int, *, binning: str = "quantile") -> Float64:
        """Edges of `n_bins` bins of equal count (`quantile`) or equal width (`width`): (n_bins + 1,) float64.

        The first is the minimum and the last the maximum; the inner ones of equal count stand on this marginal's own
        edges, each on the nearest to its quantile, so that a pass over the pairs counts exactly what `counts` says.
        Raises OptionError for no bins, or an unknown binning.
        """
        if n_bins < 1:
            raise OptionError(f"expected at least 1 bin, found {n_bins}")
        if binning == "width":
            return np.linspace(self.minimum, self.maximum, n_bins + 1)
        if binning != "quantile":
            raise OptionError(f"expected a binning of quantile or width, found {binning!r}")
        below = np.concatenate([[0], np.cumsum(self.counts)])
        wanted = np.arange(1, n_bins) * (self.n_pairs / n_bins)
        after = np.maximum(np.searchsorted(below, wanted), 1)
        nearest = np.where(wanted - below[after - 1] < below[after] - wanted, after - 1, after)
        inner = np.clip(self.edges[nearest], self.minimum, self.maximum)
        return np.concatenate([[self.minimum], inner, [self.maximum]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """How often two cosines occur together: `counts` (a, b) int64, first space by second, in bins of equal width."""

    first_start: float
    first_width: float
    second_start: float
    second_width: float
    counts: Counts

    def spearman(self) -> tuple[float, float]:
        """Rank correlation of the pairs' cosines and its resolution, a bound in practice on what the cells cost.

        Pearson's of the mid-ranks of the cells (Spearman 1904; ties as Kendall 1945): ranks within a cell are taken as
        one. That shifts it by an amount that falls with the square of the cells' width, and adds chance, since the
        order within cells is lost: the resolution is how much cells twice as wide change it, which is thrice the
        shift left, plus three standard deviations of the chance. NaN where a space has one cosine alone.
        """
        value, chance = _rank_correlation(self.counts)
        wider, _ = _rank_correlation(_halved(self.counts))
        return value, abs(value - wider) + 3 * chance


def _rank_correlation(counts: Counts) -> tuple[float, float]:
    """Of mid-ranks, and the standard deviation of what independent ranks within cells would add to it."""
    n_pairs = counts.sum()
    share = counts / n_pairs
    first, second = share.sum(axis=1), share.sum(axis=0)
    if min(np.count_nonzero(first), np.count_nonzero(second)) < 2:
        return float("nan"), float("nan")
    # Mid-ranks from -1/2 to 1/2: of mean zero, so that nothing cancels.
    u, v = np.cumsum(first) - first / 2 - 0.5, np.cumsum(second) - second / 2 - 0.5
    spread = float((first @ u**2) * (second @ v**2))
    # Ranks vary by p^2/12 within a cell of share p, and by 1/12 in all.
    chance = np.sqrt((first**3).sum() + (second**3).sum()) / np.sqrt(n_pairs)
    return float(u @ share @ v / np.sqrt(spread)), float(chance)


def _halved(counts: Counts) -> Counts:
    """Two cells by two as one."""
    a, b = counts.shape
    even = np.pad(counts, ((0, a % 2), (0, b % 2)))
    halved: Counts = even.reshape((a + 1) // 2, 2, (b + 1) // 2, 2).sum(axis=(1, 3))
    return halved
