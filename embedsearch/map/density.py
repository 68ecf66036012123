"""How crowded a picture is: a histogram of its papers, smoothed."""

from __future__ import annotations

import numpy as np

from embedsearch.scores import Float32, Float64

CELLS = 256
"""Of the grid, a side, over a picture that goes from -1 to 1 with a margin."""
EDGE = 1.06
"""Where the grid ends."""


MANY = 10_000
"""Papers from which on the density is smoothed as little as it is said to be."""


def width(sigma: float, n: int) -> float:
    """How far to smooth the density of n papers, in map units, where `sigma` is right for MANY or more.

    Fewer show less: the width grows as n^(-1/6), as is best for two dimensions (Scott 1992, Multivariate Density
    Estimation, eq. 6.42).
    """
    return sigma * float(max(MANY / n, 1.0) ** (1 / 6))


def smoothed(xy: Float32, *, sigma: float) -> Float64:
    """Papers in each cell of the grid (CELLS, CELLS), first axis x, smoothed by a Gaussian of `sigma` in map units."""
    from scipy.ndimage import gaussian_filter

    counts, _, _ = np.histogram2d(xy[:, 0], xy[:, 1], bins=CELLS, range=[[-EDGE, EDGE]] * 2)
    grid: Float64 = gaussian_filter(counts, sigma * CELLS / (2 * EDGE), mode="constant")
    return grid


def cells_of(xy: Float32) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """The cell of each paper: two arrays (n,)."""
    at = np.clip(((xy + EDGE) * (CELLS / (2 * EDGE))).astype(np.int64), 0, CELLS - 1)
    return at[:, 0], at[:, 1]


def density_of(xy: Float32) -> Float32:
    """How crowded it is around each paper: (n,) float32, its rank among all papers from 0 to 1."""
    from scipy.ndimage import map_coordinates

    grid = smoothed(xy, sigma=width(0.02, len(xy)))
    at = (xy.astype(np.float64).T + EDGE) * (CELLS / (2 * EDGE)) - 0.5
    found = map_coordinates(grid, at, order=1, mode="nearest")
    ranks = np.searchsorted(np.sort(found), found, side="left")
    out: Float32 = (ranks / max(len(xy) - 1, 1)).astype(np.float32)
    return out
