"""Quality against the size of the corpus: exact for smaller ones, a fit with its band for larger ones.

Below the corpus see thinning.py, beyond it tails.py. That retrieval by vectors gets worse as a corpus grows, and faster
than by words, is known: Reimers & Gurevych 2021 (arXiv:2012.14210).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.evaluate import tails
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.thinning import Float64, gains_of, thinned
from embedsearch.measures import Interval, mean_interval
from embedsearch.search import Mode

BM25_NOTE = "by words, and so in hybrid mode, with the BM25 statistics of the corpus that is here"
"""What is not exact about other sizes in these modes: words would weigh a little otherwise."""

N_RESAMPLES, SEED = 400, 0
"""The same queries are drawn for every curve, so that two can be subtracted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePoint:
    """A measure at one size of the corpus, or the difference of two.

    `value` has the interval of 95 % over queries. Where it is `extrapolated`, its mean is that of the models on the
    logit scale (of a difference: of these), and its interval reaches from the lowest to the highest end of theirs;
    `by_model` has the mean of each.
    """

    n_papers: int
    value: Interval
    extrapolated: bool
    by_model: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCurve:
    """A measure, such as MRR@10, at growing sizes; `n_corpus` papers are there, more is an extrapolation."""

    measure: str
    n_corpus: int
    n_queries: int
    points: tuple[SizePoint, ...]

    def at(self, n_papers: int) -> SizePoint:
        """The point of this size. Raises OptionError for one that was not asked for."""
        for point in self.points:
            if point.n_papers == n_papers:
                return point
        known = ", ".join(f"{point.n_papers:,}" for point in self.points)
        raise OptionError(f"expected a size of the curve, {known}; found {n_papers:,}")

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """How well each of q queries did among `n_corpus` papers.

    `ranks` (q,) is that of its first relevant paper, from 1; `chances` (q,) is with what chance any other paper is
    better, by the scores of the best others: without it one model less tells what is beyond the corpus.
    """

    ranks: NDArray[np.int64]
    n_corpus: int
    chances: Float64 | None = None

    @classmethod
    def of(cls, scored: Scored, mode: Mode, weight: float | None = None) -> Ranked:
        """In one mode; `weight` is the hybrid's, None: the store's."""
        chances = np.empty(len(scored))
        for some, scores in scored.blocks(mode, weight):
            for i, row in zip(some, scores, strict=True):
                relevant = np.fromiter(scored.relevant[i], np.int64)
                chances[i] = tails.chance_by_scores(np.delete(row, relevant), float(row[relevant].max()))
        return cls(ranks=scored.ranks(mode, weight), n_corpus=len(scored.ids), chances=chances)

    def check(self) -> None:
        """Raise OptionError for ranks that cannot be."""
        if not len(self.ranks) or self.ranks.min() < 1 or self.ranks.max() > self.n_corpus:
            raise OptionError(f"expected ranks from 1 to {self.n_corpus:,}, found {_span(self.ranks)}")

    def picks(self) -> NDArray[np.int64]:
        """All queries, then resamples of them: (1 + N_RESAMPLES, q)."""
        n = len(self.ranks)
        return np.concatenate([[np.arange(n)], np.random.default_rng(SEED).integers(n, size=(N_RESAMPLES, n))])


def size_curve(
    ranked: Ranked, *, measure: str = "MRR@10", sizes: Sequence[int] | None = None, up_to: int | None = None
) -> SizeCurve:
    """The measure at each of `sizes`; None: at three a decade, from 10 papers to the corpus, and on to `up_to`.

    `measure` is MRR@K or recall@K; of a query with several relevant papers the first one counts. Larger corpora are
    taken to be more of the same kind. Raises OptionError for a measure, ranks or sizes that cannot be.
    """
    ranked.check()
    curve = _Curve(ranked, gains_of(measure))
    wanted = sorted(set(sizes)) if sizes is not None else default_sizes(ranked.n_corpus, up_to)
    points = tuple(
        _exact(n, curve.values(n)) if n <= ranked.n_corpus else _fitted(n, curve.beyond(n), least=curve.least(n))
        for n in _possible(wanted)
    )
    return SizeCurve(measure=measure, n_corpus=ranked.n_corpus, n_queries=len(ranked.ranks), points=points)


def size_difference(
    first: Ranked, second: Ranked, *, measure: str = "MRR@10", sizes: Sequence[int]
) -> tuple[SizePoint, ...]:
    """`first` less `second` at each of `sizes`: the same queries, drawn together, and the same model for both.

    Raises OptionError as `size_curve`, and where the two are not of as many queries and papers.
    """
    first.check()
    second.check()
    if (len(first.ranks), first.n_corpus) != (len(second.ranks), second.n_corpus):
        raise OptionError(
            "expected the same queries among the same papers, found"
            f" {len(first.ranks):,} among {first.n_corpus:,} and {len(second.ranks):,} among {second.n_corpus:,}"
        )
    one, other = (_Curve(each, gains_of(measure)) for each in (first, second))
    points = []
    for n in _possible(sorted(set(sizes))):
        if n <= first.n_corpus:
            points.append(_exact(n, one.values(n) - other.values(n)))
        else:
            a, b = one.beyond(n), other.beyond(n)
            both = {name: a[name] - b[name] for name in a if name in b}
            least, most = (one.least(n) - b[name][0] for name in both), (a[name][0] - other.least(n) for name in both)
            points.append(_fitted(n, both, least=min(least), most=max(most), differ=True))
    return tuple(points)


def default_sizes(n_corpus: int, up_to: int | None = None) -> list[int]:
    """1, 2 and 5 of each decade from 10 on, the corpus itself, and `up_to`."""
    last = max(n_corpus, up_to or 0)
    round_ones = (digit * 10**power for power in range(1, 13) for digit in (1, 2, 5))
    return sorted({n for n in round_ones if n <= last} | {n_corpus, last})


class _Curve:
    """The measure of all queries, and of each resample of them.

    By what a model misses at the size of the corpus it is moved on the logit scale, at n papers by corpus / n of that:
    so a curve has no step, and is the model's own where the corpus tells nothing. (To move it by all of that at every
    size predicted 10,000 real abstracts from a tenth of them worse.)
    """

    def __init__(self, ranked: Ranked, gains: Float64) -> None:
        self._ranked, self._gains = ranked, gains
        self._picks = ranked.picks()
        self._fits: dict[str, tuple[tails.Family, NDArray[np.intp]]] = {}
        self._missed: dict[str, Float64] = {}

    def values(self, n_papers: int) -> Float64:
        """(q,): exact, of up to the corpus."""
        return thinned(self._ranked.ranks, self._ranked.n_corpus, n_papers, self._gains)

    def beyond(self, n_papers: int) -> dict[str, Float64]:
        """(1 + N_RESAMPLES,) by model, of more than the corpus."""
        if not self._missed:
            self._fit()
        share = self._ranked.n_corpus / n_papers
        return {
            name: _share(_logit(values) + share * self._missed[name]) for name, values in self._models(n_papers).items()
        }

    def least(self, n_papers: int) -> float:
        """Where no query was missed resamples do not vary: then what one in forty such sets of queries would hide, were
        every other paper better with one and the same chance. Else no bound, 1."""
        if self._ranked.ranks.max() > 1:
            return 1.0
        chance = 1 - 0.025 ** (1 / (len(self._ranked.ranks) * max(1, self._ranked.n_corpus - 1)))
        return float(tails.expected(np.array([chance]), n_papers, self._gains)[0])

    def _fit(self) -> None:
        ranks, n_corpus = self._ranked.ranks, self._ranked.n_corpus
        better, at = np.unique(ranks - 1, return_inverse=True)
        counts = np.stack([np.bincount(at[pick], minlength=len(better)) for pick in self._picks]).astype(np.float64)
        for name, family in _families().items():
            likelihood = counts @ family.log_likelihood(better, n_corpus - 1).T
            chosen, best = np.unique(likelihood.argmax(axis=1), return_inverse=True)
            self._fits[name] = tails.Family(family.shares[chosen]), best
        least = 0.5 / (len(ranks) + 1)  # a share of 0 or 1 of some queries is none of all that there could be
        measured = _logit(self.values(n_corpus)[self._picks].mean(axis=1), least)
        self._missed = {name: measured - _logit(values, least) for name, values in self._models(n_corpus).items()}

    def _models(self, n_papers: int) -> dict[str, Float64]:
        found = {name: family.expected(n_papers, self._gains)[best] for name, (family, best) in self._fits.items()}
        if self._ranked.chances is not None:
            found["scores"] = tails.expected(self._ranked.chances, n_papers, self._gains)[self._picks].mean(axis=1)
        return found


@cache
def _families() -> dict[str, tails.Family]:
    return {"power law": tails.power_law(), "log-normal": tails.log_normal()}


def _exact(n_papers: int, values: Float64) -> SizePoint:
    return SizePoint(n_papers=n_papers, value=mean_interval(values), extrapolated=False, by_model={})


def _fitted(
    n_papers: int, found: dict[str, Float64], *, least: float = 1.0, most: float = -1.0, differ: bool = False
) -> SizePoint:
    """Its interval reaches from `least`, or below, to `most`, or above."""
    ends = np.array([np.quantile(values[1:], [0.025, 0.975]) for values in found.values()])
    means = np.array([values[0] for values in found.values()])
    mean = float(means.mean() if differ else _share(_logit(means).mean()))
    return SizePoint(
        n_papers=n_papers,
        value=Interval(mean, min(mean, float(ends[:, 0].min()), least), max(mean, float(ends[:, 1].max()), most)),
        extrapolated=True,
        by_model={name: float(values[0]) for name, values in found.items()},
    )


def _possible(sizes: Sequence[int]) -> Sequence[int]:
    if not sizes or sizes[0] < 1:
        raise OptionError(f"expected sizes of at least one paper, found {_span(np.array(sizes, np.int64))}")
    return sizes


def _logit(share: Float64, least: float = 1e-9) -> Float64:
    inside = np.clip(share, least, 1 - least)
    found: Float64 = np.log(inside) - np.log1p(-inside)
    return found


def _share(logit: Float64) -> Float64:
    found: Float64 = 1 / (1 + np.exp(-logit))
    return found


def _span(values: NDArray[np.int64]) -> str:
    return f"{values.min():,} to {values.max():,}" if len(values) else "none"
