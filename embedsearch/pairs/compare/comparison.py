"""What a comparison of spaces gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from embedsearch.pairs.compare.measured import Measured
from embedsearch.pairs.compare.panel import Options
from embedsearch.pairs.moments import Estimate

RAW, CENTRED = "raw", "centred"
PANELS = (RAW, CENTRED)
QUANTILES = (0.01, 0.05, 0.50, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelMeasures:
    """One space, raw or centred: of the cosines of all pairs `mean`, `sd` and the `quantiles` of QUANTILES, and
    `measures` by name:

    - `common_share` (raw): squared length of the mean vector, see `spectrum.centroid`
    - `effective_rank`, `leading_share` (centred): of the covariance of the raw unit rows
    - `auc`: that a pair of one primary category has a higher cosine than one of two
    - `accuracy`: of the category by the vote of the 10 nearest neighbours
    - `mrr`: MRR@10 of titles that look for their abstracts
    - `hubness`: skewness of the 10-occurrence
    """

    mean: Estimate
    sd: Estimate
    quantiles: tuple[float, ...]
    measures: Mapping[str, Measured]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpaceMeasures:
    """One space; `panels` has `raw` and `centred`."""

    label: str
    name: str
    dim: int
    recipe: Mapping[str, object]
    panels: Mapping[str, PanelMeasures]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """Two spaces over the same pairs, raw or centred. `overlap` is by k; `spearman_resolution` bounds its rounding."""

    pearson: Estimate
    spearman: float
    spearman_resolution: float
    overlap: Mapping[int, Measured]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairMeasures:
    """`spaces[first]` beside `spaces[second]`.

    `cka` is debiased and linear, by the number of leading directions that were removed from both (0: none);
    `differences` are first minus second, by panel and measure, their errors paired.
    """

    first: int
    second: int
    panels: Mapping[str, Agreement]
    cka: Mapping[int, Estimate]
    differences: Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """All of it. `chance` is by k what the overlap of unrelated spaces is, k / (n - 1).

    `n_categories` and `n_known` count primary categories and the papers that have one; `n_titles` is by space. `notes`
    say what could not be measured, and why.
    """

    n_papers: int
    n_categories: int
    n_known: int
    n_titles: tuple[int, ...]
    options: Options
    spaces: tuple[SpaceMeasures, ...]
    pairs: tuple[PairMeasures, ...]
    chance: Mapping[int, float]
    notes: tuple[str, ...] = field(default=())

    @property
    def n_pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n_papers * (self.n_papers - 1) // 2
