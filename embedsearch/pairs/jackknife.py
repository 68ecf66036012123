"""Standard errors of statistics of all pairs: delete one paper, and with it its n - 1 pairs.

The n (n - 1) / 2 pairs share n papers, so an error that takes pairs for independent is far too small. Leaving out each
paper in turn counts every dependence: SE^2 = (n - 1)/n sum_i (theta_(-i) - mean theta_(-.))^2 (Efron & Stein 1981,
Ann. Statist. 9, 586; for statistics of pairs Arvesen 1969, Ann. Math. Statist. 40, 2076). A sum over all pairs loses
paper i's own sum over its pairs, so nothing is counted again. For the mean it is 2 sd(h)/sqrt(n) to leading order, h a
paper's mean over its pairs.

It errs upward (Efron & Stein): what a statistic owes to single pairs, not to papers, it counts twice. That is of order
1/n^2 and shows in small samples, or where papers hardly differ in their sums, as in a bin's share near its maximum.

It is the error of a sample of papers from a population, everything else held fixed: bin edges, and a transform that
was fitted beforehand.
"""

from __future__ import annotations

import numpy as np

from embedsearch.scores import Float64


def standard_error(left_out: Float64) -> Float64:
    """Of a statistic whose values without each paper are `left_out` (n, ...) float64: (...) float64, NaN if one is."""
    n = len(left_out)
    around = left_out - left_out.mean(axis=0)
    error: Float64 = np.sqrt((n - 1) / n * (around * around).sum(axis=0))
    return error


def mean_and_sd(n_pairs: Float64, total: Float64, squares: Float64) -> tuple[Float64, Float64]:
    """From counts and sums of x and x^2, of one shape: NaN where there are no pairs."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n_pairs
        return mean, np.sqrt(np.maximum(squares / n_pairs - mean * mean, 0))


def without_each(whole: Float64, own: Float64) -> Float64:
    """Sums over all pairs (...) without each paper's (n, ...): (n, ...) float64, 0 where only rounding is left."""
    rest: Float64 = whole - own
    return np.where(np.abs(rest) > 1e-12 * np.abs(whole), rest, 0.0)


def correlation(n_pairs: Float64, sums: Float64) -> Float64:
    """Pearson's, from `sums` (..., 5) float64 of x, y, x^2, y^2 and x y over pairs; NaN where one does not vary."""
    x, y, xx, yy, xy = np.moveaxis(sums / np.asarray(n_pairs)[..., None], -1, 0)
    spread = np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0)
    # Below this what is left of the squares is their rounding
    varies = (xx - x * x > 1e-13 * xx) & (yy - y * y > 1e-13 * yy)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varies, (xy - x * y) / np.sqrt(spread), np.nan)
