"""How many pairs would diverge as much by chance: a Gaussian copula, and one model on two halves of each abstract."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from embedsearch.encoders import Encoder, Role
from embedsearch.errors import OptionError
from embedsearch.pairs.divergent.divergence import Closer, Divergence, Measure
from embedsearch.records import Paper
from embedsearch.scores import Float32, Float64
from embedsearch.sentences import sentences

REACH = 9.0
"""Standard deviations within which the normal distribution is integrated."""


def copula_correlation(spearman: float) -> float:
    """The correlation of the Gaussian copula whose Spearman correlation this is: 2 sin(pi r / 6) (Pearson 1907)."""
    return 2 * math.sin(math.pi * spearman / 6)


@cache
def _normal() -> tuple[Float64, Float64]:
    """Points, and the normal distribution function there: by linear interpolation good to 1e-6 of a tail as well."""
    points = np.linspace(-REACH, REACH, 40_001)
    return points, np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in points])


def _normal_cdf(x: Float64) -> Float64:
    points, shares = _normal()
    return np.interp(x, points, shares, left=0.0, right=1.0)


def _normal_quantile(share: Float64) -> Float64:
    points, shares = _normal()
    return np.interp(share, shares, points, left=-np.inf, right=np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopulaNull:
    """All pairs as if their two cosines were tied by a Gaussian copula: the observed marginals, the observed Spearman.

    With u and v the shares below the two cosines and x = z(u) normal, v given u has z(v) ~ N(rho x, 1 - rho^2).
    With x of the space that finds a pair closer, it diverges by at least g if the other's v is at most some t(u, g), so
    that the share of such pairs is the integral of phi(x) Phi((z(t) - rho x) / sqrt(1 - rho^2)) over x, here by the
    midpoint rule on 4,096 points of -9...9. The conditional measure is a probability already: whatever the null, a
    share of 1 - g is expected, which the observed share is too but for rounding; it ranks pairs and tests nothing.
    """

    divergence: Divergence
    rho: float

    @classmethod
    def of(cls, divergence: Divergence) -> CopulaNull:
        """Of the pairs that a scan with a joint distribution has counted."""
        if divergence.joint is None:
            raise OptionError("expected a scan with a joint distribution, found none: scan with joint=True")
        return cls(divergence=divergence, rho=copula_correlation(divergence.joint.spearman()[0]))

    def share(self, value: float, closer: Closer, *, min_cosine: float | None = None) -> float:
        """The expected share of all pairs that diverge by at least `value`, the closer cosine at least `min_cosine`."""
        step = 2 * REACH / 4096
        x = -REACH + step * (np.arange(4096, dtype=np.float64) + 0.5)
        u = _normal_cdf(x)
        weight = np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * step
        rho = min(max(self.rho, -0.999999), 0.999999)
        spread = math.sqrt(1 - rho * rho)

        def below(v: Float64) -> Float64:
            return _normal_cdf((_normal_quantile(np.clip(v, 0.0, 1.0)) - rho * x) / spread)

        d = self.divergence
        if d.measure is Measure.CONDITIONAL:
            # Given u the share C is uniform, in any null of which it is the distribution.
            inside = np.full(len(u), 1 - value)
            if min_cosine is not None and closer is Closer.FIRST:
                inside = np.where(u >= d.first.cdf(min_cosine), inside, 0.0)
            elif min_cosine is not None:
                inside = np.minimum(inside, 1 - below(np.full(len(u), float(d.second.cdf(min_cosine)))))
        else:
            # The copula is symmetric: x is always of the space that finds the pair closer.
            near, far = (d.first, d.second) if closer is Closer.FIRST else (d.second, d.first)
            inside = below(u - value if d.measure is Measure.RANK else far.cdf(near.quantile(u) - value))
            if min_cosine is not None:
                inside = np.where(u >= near.cdf(min_cosine), inside, 0.0)
        return float(weight @ inside)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Halves:
    """One model's vectors of the odd and of the even sentences of each abstract: unit rows (n, d) float32, by `ids`.

    `n_left_out` papers have one sentence alone, or a half that the model can make nothing of.
    """

    ids: tuple[str, ...]
    odd: Float32
    even: Float32
    n_left_out: int


def half_texts(abstract: str) -> tuple[str, str] | None:
    """The first, third, ... sentences of an abstract and the second, fourth, ...; None where there is only one."""
    parts = sentences(" ".join(abstract.split()))
    return (" ".join(parts[::2]), " ".join(parts[1::2])) if len(parts) > 1 else None


def halves(papers: Sequence[Paper], encoder: Encoder, *, progress: Callable[[int, int], None] | None = None) -> Halves:
    """Encode the halves of these papers' abstracts. `progress(done, total)` counts texts.

    What the model's document prompt is stands before each half; a template's other fields do not.
    """
    split = {paper.id: parts for paper in papers if (parts := half_texts(paper.abstract))}
    texts = [parts[half] for half in (0, 1) for parts in split.values()]
    done = 0

    def count(n_texts: int, _: int) -> None:
        nonlocal done
        done += n_texts
        if progress:
            progress(done, len(texts))

    vectors = encoder.encode_counted(texts, role=Role.DOCUMENT, progress=count).vectors
    n = len(split)
    return Halves(ids=tuple(split), odd=vectors[:n], even=vectors[n:], n_left_out=len(papers) - n)
