"""Spaces whose pairs are known, and all pairs of them one by one in float64."""

from __future__ import annotations

import numpy as np

from embedsearch.scores import Float32, Float64, unit_rows


def two_spaces(n: int, *, seed: int = 0, dim: int = 16, noise: float = 1.0, common: float = 2.0) -> list[Float32]:
    """Two models that see the same papers, each with a common direction, the second with noise of its own."""
    rng = np.random.default_rng(seed)
    papers = rng.standard_normal((n, dim))
    other = papers + noise * rng.standard_normal((n, dim))
    return [unit_rows(np.c_[papers, np.full(n, common)]), unit_rows(np.c_[other, np.full(n, 2 * common)])]


def rotated(rows: Float32, *, seed: int = 1) -> Float32:
    """The same space in other coordinates."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows.shape[1],) * 2))
    return unit_rows(rows.astype(np.float64) @ rotation)


def brute_force(rows: Float32) -> Float64:
    """The cosine of each pair i < j in float64, (n (n - 1) / 2,)."""
    wide = rows.astype(np.float64)
    above = np.triu_indices(len(rows), 1)
    cosines: Float64 = (wide @ wide.T)[above]
    return cosines


def counted_brutally(cosines: Float64, edges: Float64, margin: float) -> tuple[Float64, Float64]:
    """How many lie in each bin, at least and at most, if each cosine may be off by `margin`."""
    at_least = np.searchsorted(np.sort(cosines), edges - margin), np.searchsorted(np.sort(cosines), edges + margin)
    low, high = at_least
    return np.maximum(low[1:] - high[:-1], 0), high[1:] - low[:-1]
