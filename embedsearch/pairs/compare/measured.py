"""A number, its standard error, and the error of a difference between two spaces on the same papers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from embedsearch.scores import Float64

NORMAL_95 = 1.959964
"""Standard errors on either side of a value that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """`value` and its `deviations` (r,) float64, whose squares add up to the square of the standard error.

    What a deviation belongs to (a paper left out, a half of the papers, a query) is the same in every space measured
    on the same papers. So the deviations of a difference are the differences of the deviations, and what moves both
    spaces alike drops out of its error: the paired comparison.
    """

    value: float
    deviations: Float64

    @property
    def error(self) -> float:
        """Standard error; NaN where it cannot be told."""
        return float(np.sqrt(np.square(self.deviations).sum())) if len(self.deviations) else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, normal: value -+ 1.96 errors."""
        return self.value - NORMAL_95 * self.error, self.value + NORMAL_95 * self.error

    def minus(self, other: Measured) -> Measured:
        """The difference, its error paired. Both must have been measured on the same papers, in the same way."""
        if self.deviations.shape != other.deviations.shape:
            return Measured(self.value - other.value, np.empty(0))
        return Measured(self.value - other.value, self.deviations - other.deviations)


UNKNOWN = Measured(float("nan"), np.empty(0))
"""What cannot be measured, such as ten neighbours among five papers."""


def from_influence(value: float, influence: Float64) -> Measured:
    """By the infinitesimal jackknife (Jaeckel 1972; Efron 1982, ch. 6).

    `influence` (n,) float64: the statistic's derivative in the direction of each paper, SE^2 = sum / (n (n - 1)). For a
    mean it is x - mean, and the error is the textbook's.
    """
    n = len(influence)
    if n < 2:
        return Measured(value, np.empty(0))
    return Measured(value, (influence - influence.mean()) / np.sqrt(n * (n - 1.0)))


def from_left_out(value: float, without: Float64) -> Measured:
    """By the delete-one jackknife: `without` (n,) is the statistic without each paper.

    SE^2 = (n - 1) / n times the sum of their squared distances from their mean.
    """
    n = len(without)
    return Measured(value, np.sqrt((n - 1) / n) * (without - without.mean()))


def from_halves(value: float, halves: ArrayLike, *, n: int, n_half: int) -> Measured:
    """By the delete-d jackknife with d about n / 2 (Shao & Wu 1989, Annals of Statistics 17, 1176).

    `halves` (r,) is the statistic on random halves of `n_half` of the n papers, drawn without replacement;
    SE^2 = n_half / (n - n_half) times their variance. No bootstrap: it draws papers twice, and a paper's nearest
    neighbour would then be itself. What is not linear in the papers counts for more in a half than in the whole, so the
    error is on the safe side: simulated, 1.4 times the scatter for the overlap of 10 neighbours among 160. The
    statistic itself may depend on n (the neighbours in a half lie farther off), so `value` is always that of all
    papers, and the halves tell how far it scatters, not where it lies.
    """
    found = np.asarray(halves, np.float64)
    if len(found) < 2 or not np.isfinite(found).all():
        return Measured(value, np.empty(0))
    scale = np.sqrt(n_half / (n - n_half) / (len(found) - 1))
    return Measured(value, scale * (found - found.mean()))


def half_samples(n: int, *, n_halves: int, seed: int) -> list[np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Random halves of n papers as masks, each (n,) bool with n // 2 True: the same ones for every space."""
    random = np.random.default_rng(seed)
    halves = []
    for _ in range(n_halves):
        mask = np.zeros(n, bool)
        mask[random.permutation(n)[: n // 2]] = True
        halves.append(mask)
    return halves
