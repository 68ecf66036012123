"""Whether two systems differ, on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.scores import Float64

N_DRAWS = 20_000
AT_ONCE = 2_000
RESOLVED = 0.01
"""The difference of a measure that is asked about."""
LEVEL = 0.05
POWER = 0.8


def permutation_p(differences: Float64, *, n_draws: int = N_DRAWS, seed: int = 0) -> float:
    """Two-sided p of paired `differences` (q,) under changes of their signs.

    Fisher's randomization test, which Smucker, Allan & Carterette (CIKM 2007) find the best for retrieval. All changes
    where there are no more than `n_draws`, else so many at random. 1 where nothing differs.
    """
    changed = differences[differences != 0]  # the sign of a zero changes nothing
    n = len(changed)
    bound = abs(float(changed.sum())) - 1e-9 * float(np.abs(changed).sum())  # sums of the same numbers may round apart
    if n < 63 and 2**n <= n_draws:
        every = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float((np.abs(_sums(every, changed)) >= bound).mean())
    random, n_found = np.random.default_rng(seed), 1  # the one that was seen is one of them
    for first in range(0, n_draws, AT_ONCE):
        drawn = random.integers(256, size=(min(AT_ONCE, n_draws - first), -(-n // 8)), dtype=np.uint8)
        bits = np.unpackbits(drawn, axis=1, count=n)
        n_found += int((np.abs(_sums(bits, changed)) >= bound).sum())
    return n_found / (n_draws + 1)


def _sums(bits: NDArray[Any], values: Float64) -> Float64:
    """Of `values` (n,), those negative where a row of `bits` (m, n) has 0: (m,)."""
    sums: Float64 = 2 * (bits.astype(np.float64) @ values) - values.sum()
    return sums


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values, corrected for there being several, in their order (Holm 1979): the chance of any false finding
    among them stays below the level that they are compared with."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    highest = 0.0
    for done, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - done) * p_values[at]))
        corrected[at] = highest
    return corrected.tolist()


def queries_to_resolve(differences: Float64, *, difference: float = RESOLVED) -> int | None:
    """How many queries such as these would show a mean difference of so much, in four of five cases, at 5 %.

    From the standard deviation of the paired `differences` (q,), by the normal approximation. None where they do not
    vary.
    """
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    if not spread:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)
    return int(np.ceil((z * spread / difference) ** 2))
