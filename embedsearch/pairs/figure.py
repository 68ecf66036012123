"""Every number of the similarity figure: how spaces see the same pairs of papers, and what each makes of a bin's pairs.

After Figure 3 of the AstroLLaMA paper (Nguyen et al. 2023, arXiv:2309.06126): all pairs in bins of the cosine of one
space, and in each bin the density of every space's cosines. A space spreads less in the bins of its own cosine than in
another's, by construction: so each bin has for every space the ratio of the sd in the bin to the sd of all pairs, and
the same pairs can be binned by more than one space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedsearch.pairs.curves import Curve
from embedsearch.pairs.histograms import Counts
from embedsearch.pairs.moments import Estimate
from embedsearch.scores import Float64

RAW = "raw"
"""The panel without a transform."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpaceView:
    """One space over all pairs. `spearman` is with the first space; `spearman_resolution` bounds its rounding."""

    label: str
    name: str
    dim: int
    recipe: dict[str, Any]
    mean: Estimate
    sd: Estimate
    minimum: float
    maximum: float
    curve: Curve
    spearman: float | None
    spearman_resolution: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinnedView:
    """One space in the bins: arrays (b,) float64, NaN where a bin is empty; `ratio` is sd in the bin / sd of all pairs.

    `pooled_ratio` is the root of the mean variance within bins (each pair once) over the sd of all pairs:
    sqrt(1 - eta^2), with eta^2 the share of the variance that the bins explain.
    """

    curves: tuple[Curve, ...]
    mean: Float64
    mean_error: Float64
    sd: Float64
    sd_error: Float64
    ratio: Float64
    pooled_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridges:
    """All pairs in bins of the cosine of `spaces[by]`: `edges` (b + 1,), `n_pairs`, `share`, `share_error` (b,)."""

    by: int
    edges: Float64
    n_pairs: Counts
    share: Float64
    share_error: Float64
    spaces: tuple[BinnedView, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointView:
    """Counts (a, b) int64 of pairs by the cosines of the first space and of `spaces[other]`.

    The edges are (a + 1,) and (b + 1,) float64.
    """

    other: int
    first_edges: Float64
    second_edges: Float64
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """The spaces after one transform (`raw`: as they were given).

    `product_error` is the largest error of a cosine in a sample of pairs, None where products were float32.
    """

    transform: str
    spaces: tuple[SpaceView, ...]
    ridges: tuple[Ridges, ...]
    joints: tuple[JointView, ...]
    product_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimilarityFigure:
    """What is drawn. The first space is the reference; all panels have the same papers and the same spaces."""

    n_papers: int
    binning: str
    panels: tuple[Panel, ...]
    fast: bool = False

    @property
    def n_pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n_papers * (self.n_papers - 1) // 2

    @property
    def n_bins(self) -> int:
        """Bins of a ridgeline, 0 where nothing was binned."""
        return max((len(ridges.n_pairs) for panel in self.panels for ridges in panel.ridges), default=0)

    def as_dict(self) -> dict[str, Any]:
        """Every number, as JSON can have it: arrays as lists, NaN as None."""
        plain: dict[str, Any] = _plain(self)
        return {"n_papers": self.n_papers, "n_pairs": self.n_pairs, **plain}


def _plain(value: Any) -> Any:
    """As the json module takes it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    names = getattr(value, "__dataclass_fields__", None)
    return value if names is None else {name: _plain(getattr(value, name)) for name in names}
