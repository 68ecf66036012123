"""The weight of the hybrid that a corpus wants: chosen on one half of the queries, reported on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError
from embedsearch.evaluate.asking import Scored
from embedsearch.measures import Interval, mean_interval
from embedsearch.scores import Float64
from embedsearch.search import HYBRID_WEIGHT, Mode

WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))
"""From words alone to meaning alone."""
FEWEST = 10
"""Queries in either half of a set by which a weight is chosen."""
K = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightCurve:
    """Reciprocal ranks (0 beyond K) of the queries of one set: `values` is (weights, q); `chooses` (q,) is which half.

    The halves are by the hash of the paper that answers, so that two queries about one paper are in the same half, and
    each query in the same one whatever else is asked.
    """

    queries: str
    weights: tuple[float, ...]
    values: Float64
    chooses: NDArray[np.bool_]

    @classmethod
    def of(cls, queries: str, scored: Scored, *, default: float = HYBRID_WEIGHT) -> WeightCurve:
        """At all WEIGHTS and `default`. Raises OptionError where there is no hybrid."""
        if Mode.HYBRID not in scored.modes:
            raise OptionError(f"expected vectors and keywords to weigh, found {scored.name} without one of them")
        weights = tuple(sorted({*WEIGHTS, default}))
        ranks = np.stack([scored.ranks(Mode.HYBRID, weight) for weight in weights])
        first = [min(scored.ids[row] for row in relevant) for relevant in scored.relevant]
        return cls(
            queries=queries,
            weights=weights,
            values=np.where(ranks <= K, 1 / ranks, 0.0),
            chooses=np.array([sample_key(id, 1) % 2 == 0 for id in first]),
        )

    @property
    def n_least(self) -> int:
        """Queries in the smaller half."""
        return int(min(self.chooses.sum(), (~self.chooses).sum()))

    def at(self, weight: float) -> Float64:
        """Of the queries that do not choose, at one weight."""
        values: Float64 = self.values[self.weights.index(weight), ~self.chooses]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridFigures:
    """MRR@10 of one set. `curve` has (weight, MRR) of the half that chose; all others are of the other half.

    `difference` is chosen less default, query by query.
    """

    queries: str
    n_choosing: int
    n_reported: int
    curve: tuple[tuple[float, float], ...]
    chosen: Interval
    by_default: Interval
    dense: Interval
    keyword: Interval
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridChoice:
    """The weight with the best MRR@10 on the half that chose, each set counting alike, and what it does on the other.

    Of equal ones the nearest to the default.
    """

    entry: str
    weight: float
    default: float
    sets: tuple[HybridFigures, ...]

    @property
    def is_better(self) -> bool:
        """Whether some set's interval of the difference is above zero, and none's below."""
        return any(each.difference.low > 0 for each in self.sets) and all(
            each.difference.high >= 0 for each in self.sets
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


def choose_hybrid(entry: str, curves: Sequence[WeightCurve], *, default: float = HYBRID_WEIGHT) -> HybridChoice:
    """Choose the weight for `entry` by all `curves`, which were made with this default.

    A set with fewer than FEWEST queries in a half is left out: by chance alone it would weigh as much as the others.
    Raises OptionError where that leaves none.
    """
    usable = [curve for curve in curves if curve.n_least >= FEWEST]
    if not usable:
        found = max((curve.n_least for curve in curves), default=0)
        raise OptionError(
            f"expected at least {FEWEST} queries of a set in each half to choose a weight, found {found}: ask more"
        )
    weights = usable[0].weights
    means = np.mean([curve.values[:, curve.chooses].mean(axis=1) for curve in usable], axis=0)
    best = np.flatnonzero(means >= means.max() - 1e-12)
    weight = min((weights[i] for i in best), key=lambda each: (abs(each - default), each))
    return HybridChoice(
        entry=entry,
        weight=weight,
        default=default,
        sets=tuple(_figures(curve, weight, default) for curve in usable),
    )


def _figures(curve: WeightCurve, weight: float, default: float) -> HybridFigures:
    choosing = curve.values[:, curve.chooses].mean(axis=1)
    return HybridFigures(
        queries=curve.queries,
        n_choosing=int(curve.chooses.sum()),
        n_reported=int((~curve.chooses).sum()),
        curve=tuple(zip(curve.weights, choosing.tolist(), strict=True)),
        chosen=mean_interval(curve.at(weight)),
        by_default=mean_interval(curve.at(default)),
        dense=mean_interval(curve.at(1.0)),
        keyword=mean_interval(curve.at(0.0)),
        difference=mean_interval(curve.at(weight) - curve.at(default)),
    )
