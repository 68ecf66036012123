"""Sums over all pairs that need no pairs: exact mean, sd, Pearson and CKA of millions of papers.

With rows x_i of X, S = sum_i x_i and G = X^T X: sum_{i<j} x_i.x_j = (|S|^2 - sum_i |x_i|^2)/2,
sum_{i<j} (x_i.x_j)(y_i.y_j) = (|X^T Y|_F^2 - sum_i |x_i|^2 |y_i|^2)/2, and paper i's own shares of them are
x_i.S - |x_i|^2 and x_i^T (X^T Y) y_i - |x_i|^2 |y_i|^2. So two passes over the rows do, with O(d^2) + O(n) memory.
Everything is float64, rows and their lengths taken as they are (not as exactly one), so the results are those of
cosines in float64; `scan_pairs` multiplies in float32, whose rounding averages out: from a thousand papers on their
means and standard deviations differ by less than 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from embedsearch.errors import OptionError
from embedsearch.pairs.jackknife import correlation, mean_and_sd, standard_error, without_each
from embedsearch.scores import Float32, Float64

Rows = Float32 | Callable[[], Iterable[tuple[int, Float32]]]
"""Unit rows (n, d) float32, or what gives them in blocks of (first row, rows) each time it is called: Space.blocks."""

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value over all pairs and its standard error by the delete-one-paper jackknife, NaN where it has none."""

    value: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and standard deviation of the cosines of all pairs."""

    n_papers: int
    mean: Estimate
    sd: Estimate


def moments(vectors: Rows, *, centred: bool = False) -> Moments:
    """Mean and sd of all pairs of unit rows, n at least 3.

    `centred` says that the rows were centred on these very papers. Their mean cosine is then near -1/(n - 1) whatever
    the papers: the statistic is degenerate, and a jackknife, which cannot know that the centre moves with the
    sample, means nothing. Its error is then NaN, as it is where the rows' centroid is zero to rounding.
    Raises OptionError for fewer than 3 papers.
    """
    sums = _gather([vectors], at_least=3)
    n, pairs = sums.n, sums.n * (sums.n - 1) / 2
    mean, sd = mean_and_sd(np.array(pairs), np.array(sums.total[0]), np.array(sums.product[0, 0]))
    left = _without(n)
    means, sds = mean_and_sd(left, sums.total[0] - sums.own[0], sums.product[0, 0] - sums.own_product[0, 0])
    degenerate = centred or float(np.linalg.norm(sums.centre[0])) < 1e-6
    return Moments(
        n_papers=n,
        mean=Estimate(float(mean), np.nan if degenerate else float(standard_error(means))),
        sd=Estimate(float(sd), float(standard_error(sds))),
    )


def pearson(a: Rows, b: Rows) -> Estimate:
    """Correlation of the cosines of all pairs in two aligned spaces, n at least 3; NaN where one has no spread.

    Raises OptionError for fewer than 3 papers, or spaces of unequal length.
    """
    sums = _gather([a, b], at_least=3)
    whole = np.array([*sums.total, sums.product[0, 0], sums.product[1, 1], sums.product[0, 1]])
    own = np.stack([*sums.own, sums.own_product[0, 0], sums.own_product[1, 1], sums.own_product[0, 1]], axis=1)
    value = correlation(np.array(sums.n * (sums.n - 1) / 2), whole)
    return Estimate(float(value), float(standard_error(correlation(_without(sums.n), without_each(whole, own)))))


def cka(a: Rows, b: Rows) -> Estimate:
    """Debiased linear centred kernel alignment of two aligned spaces, n at least 5.

    HSIC(K, L)/sqrt(HSIC(K, K) HSIC(L, L)) (Kornblith et al. 2019, arXiv:1905.00414) with the unbiased HSIC of Song et
    al. (2012, JMLR 13, 1393), as Nguyen et al. (2021, arXiv:2010.15327) use it; without it CKA nears 1 where d is not
    far below n (Murphy et al. 2024, arXiv:2405.01012). With K and L the cosines without diagonal, k and l their row
    sums, n (n - 3) HSIC = sum K L + (sum k)(sum l)/((n - 1)(n - 2)) - 2 k.l/(n - 2).
    NaN where an HSIC is not positive. Raises OptionError for fewer than 5 papers, or spaces of unequal length.
    """
    sums = _gather([a, b], at_least=5)
    whole = [_hsic(sums.n, *sums.hsic_parts(s, t)) for s, t in ((0, 1), (0, 0), (1, 1))]
    left = [_hsic(sums.n - 1, *sums.hsic_parts_without(s, t)) for s, t in ((0, 1), (0, 0), (1, 1))]
    return Estimate(float(_alignment(whole)), float(standard_error(_alignment(left))))


def _without(n: int) -> Float64:
    """Pairs that are left without one paper, as an array of shape ()."""
    return np.array((n - 1) * (n - 2) / 2)


def _hsic(n: int, products: Float64, sum_k: Float64, sum_l: Float64, kl: Float64) -> Float64:
    value: Float64 = (products + sum_k * sum_l / ((n - 1) * (n - 2)) - 2 * kl / (n - 2)) / (n * (n - 3))
    return value


def _alignment(hsic: Sequence[Float64]) -> Float64:
    spread = np.maximum(hsic[1], 0) * np.maximum(hsic[2], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, hsic[0] / np.sqrt(spread), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Of one or two spaces: over all pairs i < j and, as `own`, over each paper's pairs (n,) float64."""

    n: int
    total: list[float]
    own: list[Float64]
    product: dict[tuple[int, int], float]
    own_product: dict[tuple[int, int], Float64]
    crossed: dict[tuple[int, int], Float64]
    """[s, t]: sum_j K_s[i, j] k_t[j] over j other than i, k_t the `own` of t."""
    centre: list[Float64]

    def hsic_parts(self, s: int, t: int) -> tuple[Float64, Float64, Float64, Float64]:
        """sum K L, sum k, sum l, k.l over ordered pairs."""
        return (
            np.array(2 * self.product[s, t]), np.array(2 * self.total[s]), np.array(2 * self.total[t]),
            np.array(self.own[s] @ self.own[t]),
        )  # fmt: skip

    def hsic_parts_without(self, s: int, t: int) -> tuple[Float64, Float64, Float64, Float64]:
        """The same without each paper: row j loses K[j, i], so k.l loses more than paper i's term."""
        mine, other, q = self.own[s], self.own[t], self.own_product[s, t]
        kl = mine @ other - mine * other - self.crossed[t, s] - self.crossed[s, t] + q
        return 2 * self.product[s, t] - 2 * q, 2 * self.total[s] - 2 * mine, 2 * self.total[t] - 2 * other, kl


@dataclass(slots=True, eq=False)
class _Streamed:
    """What the first pass knows: n, sums of rows, X_s^T X_t, and sums of X_s weighted by the squared lengths in t."""

    n: int
    rows: dict[int, Float64]
    gram: dict[tuple[int, int], Float64]
    weighted: dict[tuple[int, int], Float64]


def _gather(spaces: Sequence[Rows], *, at_least: int) -> _Sums:
    known = _first_pass(spaces)
    if known.n < at_least:
        raise OptionError(f"expected at least {at_least} papers, found {known.n}")
    return _second_pass(spaces, known)


def _first_pass(spaces: Sequence[Rows]) -> _Streamed:
    known = _Streamed(0, {}, {}, {})
    for blocks in _aligned(spaces):
        known.n += len(blocks[0])
        squares = [_squares(rows) for rows in blocks]
        for s, rows in enumerate(blocks):
            known.rows[s] = known.rows.get(s, 0.0) + rows.sum(axis=0)
            for t, others in enumerate(blocks):
                known.weighted[s, t] = known.weighted.get((s, t), 0.0) + squares[t] @ rows
                if s <= t:
                    known.gram[s, t] = known.gram.get((s, t), 0.0) + rows.T @ others
    known.gram |= {(t, s): gram.T for (s, t), gram in known.gram.items()}
    return known


def _second_pass(spaces: Sequence[Rows], known: _Streamed) -> _Sums:
    pairs = list(known.weighted)
    towards = {(s, t): known.gram[s, t] @ known.rows[t] - known.weighted[s, t] for s, t in pairs}  # X_s^T k_t
    own: dict[int, list[Float64]] = {s: [] for s in known.rows}
    products: dict[tuple[int, int], list[Float64]] = {(s, t): [] for s, t in pairs if s <= t}
    crossed: dict[tuple[int, int], list[Float64]] = {pair: [] for pair in pairs}
    for blocks in _aligned(spaces):
        squares = [_squares(rows) for rows in blocks]
        for s, rows in enumerate(blocks):
            own[s].append(rows @ known.rows[s] - squares[s])
        for (s, t), parts in products.items():
            parts.append(np.einsum("ij,ij->i", blocks[s] @ known.gram[s, t], blocks[t]) - squares[s] * squares[t])
        for (s, t), parts in crossed.items():
            parts.append(blocks[s] @ towards[s, t] - squares[s] * own[t][-1])
    own_sums = [np.concatenate(parts) for parts in own.values()]
    own_products = {pair: np.concatenate(parts) for pair, parts in products.items()}
    return _Sums(
        n=known.n,
        total=[float(k.sum()) / 2 for k in own_sums],
        own=own_sums,
        product={pair: float(q.sum()) / 2 for pair, q in own_products.items()},
        own_product=own_products,
        crossed={pair: np.concatenate(parts) for pair, parts in crossed.items()},
        centre=[rows / known.n for rows in known.rows.values()],
    )


def _squares(rows: Float64) -> Float64:
    squares: Float64 = np.einsum("ij,ij->i", rows, rows)
    return squares


def _aligned(spaces: Sequence[Rows]) -> Iterator[list[Float64]]:
    """The same papers' rows in each space, block by block, in float64."""
    for parts in zip_longest(*map(_blocks, spaces)):
        if len({part and (part[0], len(part[1])) for part in parts}) != 1:
            raise OptionError("expected the same papers in each space, in blocks of one size, found spaces that differ")
        yield [rows.astype(np.float64) for _, rows in parts]


def _blocks(rows: Rows) -> Iterable[tuple[int, Float32]]:
    if callable(rows):
        return rows()
    return ((first, rows[first : first + BLOCK]) for first in range(0, len(rows), BLOCK))
