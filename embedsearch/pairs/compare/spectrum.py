"""How many directions a space uses, and the space without its leading ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embedsearch.pairs.compare.measured import UNKNOWN, Measured, from_influence
from embedsearch.scores import BLOCK_ROWS, Float32, Float64, unit_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """The centred covariance of n unit rows (n, d): `mean` (d,), `variances` (d,) largest first, `directions` (d, d).

    Directions are columns, in the order of the variances; all float64. Covariance: sum of (x - mean)(x - mean)^T / n.
    """

    mean: Float64
    variances: Float64
    directions: Float64
    effective_rank: Measured
    leading_share: Measured
    centroid: Measured


def spectrum(vectors: Float32) -> Spectrum:
    """Of unit rows (n, d), n at least 2.

    `effective_rank` = exp(-sum p_k ln p_k), p_k the k-th variance's share of all (Roy & Vetterli 2007, EUSIPCO):
    between 1 and the smaller of d and n - 1; it grows with n, and can only be compared at one n. `leading_share` = p_1,
    the share of the variance along the leading direction. `centroid` = |mean|^2, the share of the squared length that
    all papers have in common: the mean cosine of all pairs, each paper with itself included. NaN where all papers are
    one point.

    Errors by the infinitesimal jackknife. With y = the paper's distance from the mean along each direction, L the sum
    of the variances and H the entropy, a paper's influence is on p_1: (y_1^2 - p_1 |y|^2) / L; on H: -(sum_k y_k^2 ln
    p_k + H |y|^2) / L, the trace of a function of the covariance being smooth whatever the order of its eigenvalues; on
    |mean|^2: 2 (x . mean - |mean|^2). With fewer than about four papers a dimension the effective rank's error is too
    small by up to a quarter (simulated; halves of the papers are too small by more).
    """
    mean, covariance = _covariance(vectors)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = np.maximum(variances[::-1], 0.0), directions[:, ::-1]
    total = float(variances.sum())
    along = np.concatenate([block @ mean for block in _blocks(vectors)])
    centroid = from_influence(float(mean @ mean), 2 * (along - float(mean @ mean)))
    rank = share = UNKNOWN
    if total > len(mean) * float(np.finfo(np.float32).eps) ** 2:
        rank, share = _shape(vectors, mean, variances / total, directions, total)
    return Spectrum(
        mean=mean,
        variances=variances,
        directions=directions,
        effective_rank=rank,
        leading_share=share,
        centroid=centroid,
    )


def _shape(
    vectors: Float32, mean: Float64, shares: Float64, directions: Float64, total: float
) -> tuple[Measured, Measured]:
    """Effective rank and leading share, with their influences."""
    # A share of zero adds nothing to the entropy, and no paper lies along its direction
    logs = np.log(np.where(shares > np.finfo(np.float64).eps, shares, 1.0))
    entropy = -float(shares @ logs)
    rank, on_entropy, on_first = float(np.exp(entropy)), [], []
    for block in _blocks(vectors):
        squares = np.square((block - mean) @ directions) / total
        lengths = squares.sum(axis=1)
        on_entropy.append(-(squares @ logs) - entropy * lengths)
        on_first.append(squares[:, 0] - shares[0] * lengths)
    return (
        from_influence(rank, rank * np.concatenate(on_entropy)),
        from_influence(float(shares[0]), np.concatenate(on_first)),
    )


def centred(vectors: Float32, mean: Float64) -> Float32:
    """Unit rows (n, d) less `mean` (d,), at unit length again: `transform.center` on these papers.

    Raises BadVector, which has its position, where a paper lies on the mean.
    """
    return np.concatenate([unit_rows(block - mean) for block in _blocks(vectors)])


def without_leading(vectors: Float32, of: Spectrum, k: int) -> Float32:
    """Unit rows (n, d) centred and without the k directions of largest variance: `transform.remove-top:k` on them.

    Mu & Viswanath (2018, arXiv:1702.01417). Raises BadVector as `centred` does.
    """
    leading = of.directions[:, :k]
    rest = []
    for block in _blocks(vectors):
        away = block - of.mean
        rest.append(unit_rows(away - (away @ leading) @ leading.T))
    return np.concatenate(rest)


def _covariance(vectors: Float32) -> tuple[Float64, Float64]:
    """Mean (d,) and covariance (d, d) in float64; two passes, since a raw space is mostly its mean."""
    n = len(vectors)
    mean: Float64 = np.add.reduce([block.sum(axis=0) for block in _blocks(vectors)]) / n
    covariance = np.zeros((len(mean), len(mean)))
    for block in _blocks(vectors):
        away = block - mean
        covariance += away.T @ away
    return mean, covariance / n


def _blocks(vectors: Float32) -> Iterator[Float64]:
    for first in range(0, len(vectors), BLOCK_ROWS):
        yield vectors[first : first + BLOCK_ROWS].astype(np.float64)
