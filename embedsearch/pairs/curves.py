"""Densities in steps, from counts: as many steps as the pairs can fill."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from embedsearch.pairs.histograms import Counts, Marginal
from embedsearch.scores import Float64

MOST_CELLS = 256
"""Steps of a curve over a space's range: as many as 3.5 inches can show."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A density in steps: `edges` (m + 1,) of the cosine, `density` (m,), the share of the pairs per unit of cosine.

    Both float64; m is 0 where there is nothing to draw.
    """

    edges: Float64
    density: Float64


def n_cells(n_pairs: float) -> int:
    """Steps that so many pairs can fill: twice the cube root (Rice's rule), at least 16 and at most MOST_CELLS."""
    return min(MOST_CELLS, max(16, math.ceil(2 * math.cbrt(n_pairs))))


def marginal_curve(marginal: Marginal) -> Curve:
    """The marginal in as many steps as its pairs can fill, each some whole number of its bins."""
    factor = math.ceil(len(marginal.counts) / n_cells(marginal.n_pairs))
    counts = coarser(marginal.counts, factor)
    edges = marginal.start + marginal.width * factor * np.arange(len(counts) + 1, dtype=np.float64)
    return Curve(edges=edges, density=counts / (marginal.n_pairs * marginal.width * factor))


def coarser(counts: Counts, factor: int) -> Counts:
    """Sums of `factor` neighbours along the last axis; the last may be of fewer."""
    starts = np.arange(0, counts.shape[-1], factor)
    summed: Counts = np.add.reduceat(counts, starts, axis=-1)
    return summed


def curve(edges: Float64, counts: Counts) -> Curve:
    """A density from counts, from the first step that is not empty to the last."""
    filled = np.flatnonzero(counts)
    if not len(filled) or not (np.diff(edges) > 0).all():
        return Curve(edges=edges[:1], density=np.zeros(0))
    first, last = int(filled[0]), int(filled[-1]) + 1
    inside, part = edges[first : last + 1], counts[first:last]
    return Curve(edges=inside, density=part / (part.sum() * np.diff(inside)))


def clipped_curve(edges: Float64, counts: Counts, low: float, high: float) -> Curve:
    """The density over a bin that begins and ends within steps: the outer ones are as wide as they lie in the bin."""
    if not high > low or not counts.any():
        return Curve(edges=edges[:1], density=np.zeros(0))
    inner = edges[(edges > low) & (edges < high)]
    cut = np.concatenate([[low], inner, [high]])
    first = int(np.clip(np.searchsorted(edges, low, side="right") - 1, 0, len(counts) - 1))
    part = counts[first : first + len(cut) - 1]
    # A step that is cut to almost nothing holds too few pairs to show a density: it joins its neighbour.
    keep = np.ones(len(cut), bool)
    thin = np.diff(cut) < 0.25 * np.diff(edges).max()
    if len(part) > 1 and thin[0]:
        keep[1] = False
    if len(part) > 2 and thin[-1]:
        keep[-2] = False
    starts = np.flatnonzero(keep)[:-1]
    kept, widths = np.add.reduceat(part, starts), np.diff(cut[keep])
    return Curve(edges=cut[keep], density=kept / (counts.sum() * widths))
