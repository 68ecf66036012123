"""How often a paper that nobody has seen yet is better than the right one: models of it, for corpora not there yet.

Of a query the right paper is beaten by any other with a chance p of its own. Of n - 1 others a binomial number is
better, so all that a larger corpus does to a measure is in how p is spread over queries. Below 1 / corpus the corpus
does not tell that; models do, and they do not agree: their spread is part of what is not known.

- power law: p has a beta distribution, whose lower end is a power of p (beta-binomial, Skellam 1948)
- log-normal: the logit of p has a normal distribution (logistic-normal binomial, Williams 1982)
- scores: the scores of the best others of each query fall off exponentially (peaks over a threshold, Pickands 1975, in
  the Gumbel domain, as Weissman 1978): p follows from how far the right paper is above them
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

BEST_OTHERS, FEWEST_OTHERS = 20, 3
"""Others whose scores tell how fast these fall off: so many where there are as many, and no fewer than."""

NODES: Float64 = np.linspace(-45.0, 6.0, 511)
"""Logits of p. Below, no corpus of the world has a better paper."""
_STEP = float(NODES[1] - NODES[0])
_LOG_P, _LOG_REST = -np.logaddexp(0, -NODES), -np.logaddexp(0, NODES)


def expected(p: Float64, n_papers: int, gains: Float64) -> Float64:
    """Of a corpus of `n_papers`: the measure whose gain is gains[j] below j better papers, for each p: (m,)."""
    others = n_papers - 1
    j = np.arange(min(len(gains), others + 1))
    log_choose = np.concatenate([[0.0], np.cumsum(np.log(others - j[:-1]) - np.log(j[1:]))])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p, log_rest = np.log(p)[:, None], np.log1p(-p)[:, None]
        # 0 log 0 is 0 here
        chance = np.exp(log_choose + np.where(j, j * log_p, 0.0) + np.where(j < others, (others - j) * log_rest, 0.0))
    mean: Float64 = chance @ gains[: len(j)]
    return mean


def chance_by_scores(others: NDArray[np.float32], right: float) -> float:
    """p of one query: `others` (n,) are the scores of all other papers, -inf of those that are no answer.

    The best of them are taken to fall off exponentially. Where the right paper is not above them its rank says all.
    """
    n_best = min(BEST_OTHERS, int(np.isfinite(others).sum()) - 1)
    if n_best >= FEWEST_OTHERS:
        best = np.partition(others, -n_best - 1)[-n_best - 1 :].astype(np.float64)
        threshold = best[0]
        mean = (best.sum() - threshold) / n_best - threshold
        if right > threshold and mean > 0:
            return float(n_best / len(others) * np.exp(-(right - threshold) / mean))
    return float((others >= right).mean()) if len(others) else 0.0


@dataclass(frozen=True, slots=True)
class Family:
    """Distributions of the logit of p on NODES: `shares` (m, nodes) float64, each row of sum 1."""

    shares: Float64

    def log_likelihood(self, n_better: NDArray[np.int64], n_others: int) -> Float64:
        """(m, q) of what was seen in a corpus: `n_better` (q,) of `n_others`; up to a constant of each query."""
        log_chance = n_better[:, None] * _LOG_P + (n_others - n_better)[:, None] * _LOG_REST
        chance = np.exp(log_chance - log_chance.max(axis=1, keepdims=True))
        found: Float64 = np.log(np.maximum(self.shares @ chance.T, 1e-300))
        return found

    def expected(self, n_papers: int, gains: Float64) -> Float64:
        """(m,): see `expected`."""
        mean: Float64 = self.shares @ expected(np.exp(_LOG_P), n_papers, gains)
        return mean


def power_law() -> Family:
    """Beta distributions."""
    a, b = (each.ravel()[:, None] for each in np.meshgrid(np.geomspace(0.002, 20, 60), np.geomspace(0.3, 1e6, 60)))
    density = a * _LOG_P + b * _LOG_REST
    density[:, 0] = np.logaddexp(density[:, 0], a[:, 0] * NODES[0] - np.log(a[:, 0] * _STEP))  # what lies below
    return Family(_normal(density))


def log_normal() -> Family:
    """Normal distributions of the logit."""
    centres, widths = np.meshgrid(np.arange(-40.0, 2.0, 0.5), np.geomspace(0.3, 12, 45))
    return Family(_normal(-0.5 * ((NODES - centres.ravel()[:, None]) / widths.ravel()[:, None]) ** 2))


def _normal(log_density: Float64) -> Float64:
    shares = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    shares[shares < 1e-100] = 0.0  # what they are multiplied with would leave the range of normal numbers, and be slow
    normal: Float64 = shares / shares.sum(axis=1, keepdims=True)
    return normal
