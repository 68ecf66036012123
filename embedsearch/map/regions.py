"""The regions of a map: the hills of its density, seen from afar and from near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedsearch.map.density import CELLS, EDGE, cells_of, smoothed, width
from embedsearch.map.points import Region
from embedsearch.map.terms import TermCounts
from embedsearch.scores import Float32, Float64

SIGMAS = (0.06, 0.025)
"""How far the density is smoothed for the coarse and for the fine regions (`density.width`)."""
FEWEST = 6
"""Papers of a region, and LEAST_SHARE of all papers: a smaller hill is none."""
LEAST_SHARE = 0.001
LABEL_TERMS = (3, 2)
"""Terms in the label of a coarse and of a fine region."""


def find_regions(
    xy: Float32, *, texts: Sequence[tuple[str, str]], of_texts: NDArray[np.int64]
) -> tuple[tuple[Region, ...], NDArray[np.int32]]:
    """The regions of papers at `xy` (n, 2), coarse ones first and larger ones first, and (2, n) the number of each
    paper's coarse and fine region, -1 for none.

    A region is what climbs to one peak of the smoothed density. `texts` are (title, abstract) of the papers at the
    positions `of_texts` (m,), by whose words regions are named (`terms`).
    """
    counts = TermCounts(texts)
    regions: list[Region] = []
    of = np.full((2, len(xy)), -1, np.int32)
    for level, sigma in enumerate(SIGMAS):
        groups, peaks = _hills(xy, sigma)
        terms = counts.of_groups(groups[of_texts], len(peaks))
        sizes = np.bincount(groups[groups >= 0], minlength=len(peaks))
        for i, peak in enumerate(peaks):
            parent = -1 if level == 0 else _commonest(of[0][groups == i])
            label = " · ".join(terms[i][: LABEL_TERMS[level]])
            regions.append(Region(label=label, terms=terms[i], xy=peak, n=int(sizes[i]), level=level, parent=parent))
        of[level] = np.where(groups >= 0, groups + len(regions) - len(peaks), -1)
    return tuple(regions), of


def _hills(xy: Float32, sigma: float) -> tuple[NDArray[np.int64], list[tuple[float, float]]]:
    """The hill of each paper (n,), -1 for none, the largest first, and the peak of each."""
    density = smoothed(xy, sigma=width(sigma, len(xy)))
    tops = _tops(density)[cells_of(xy)]
    found, of, sizes = np.unique(tops, return_inverse=True, return_counts=True)
    order = [i for i in np.argsort(-sizes, kind="stable") if sizes[i] >= max(FEWEST, LEAST_SHARE * len(xy))]
    number = np.full(len(found), -1, np.int64)
    number[order] = np.arange(len(order))
    middles = [((i + 0.5) * 2 * EDGE / CELLS - EDGE) for i in range(CELLS)]
    return number[of], [(middles[found[i] // CELLS], middles[found[i] % CELLS]) for i in order]


def _tops(density: Float64) -> NDArray[np.int64]:
    """For each cell the one on top of its hill, by number: climb to the highest of the nine around until none is."""
    numbers = np.arange(density.size).reshape(density.shape)
    around = np.stack([_moved(density, i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    best = around.argmax(axis=0)  # of equals the first: no two cells lead to one another
    steps = np.array([i * density.shape[1] + j for i in (-1, 0, 1) for j in (-1, 0, 1)])
    leads: NDArray[np.int64] = (numbers + steps[best]).ravel()
    while not np.array_equal(leads, further := leads[leads]):
        leads = further
    return leads.reshape(density.shape)


def _moved(density: Float64, i: int, j: int) -> Float64:
    """The value of each cell's neighbour there, less than any where there is none."""
    wide = np.pad(density, 1, constant_values=-1.0)
    found: Float64 = wide[1 + i : 1 + i + density.shape[0], 1 + j : 1 + j + density.shape[1]]
    return found


def _commonest(regions: NDArray[np.int32]) -> int:
    """The region of most of these papers; the first of equals."""
    values, counts = np.unique(regions, return_counts=True)
    return int(values[counts.argmax()])
