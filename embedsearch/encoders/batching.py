"""Which texts share a batch: pure functions on lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError

WASTE = 1 / 8
"""Padding of a text, as a share of it, from which it goes into a batch of its own with those after it."""


def batches(lengths: NDArray[np.int64], budget: int, *, enough: int | None = None) -> list[NDArray[np.int64]]:
    """The positions of the texts of each batch, so that a batch padded to its longest text has at most `budget` tokens.

    `lengths` is (n,) integers; the result holds (k,) int64 arrays which together hold each of 0..n-1 once. Longest
    texts come first, so that a batch that does not fit into memory fails at the start; equal lengths keep their order,
    so that the same lengths give the same batches. A text longer than the budget is a batch of its own. A batch of
    `enough` tokens, beyond which a device is no faster, ends before a text that would be padded by more than WASTE.
    Raises OptionError if the budget is below 1.
    """
    if budget < 1:
        raise OptionError(f"a token budget must be at least 1, was {budget}")
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    result = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, budget // longest)
        if enough is not None:
            full = start + -(-enough // longest)
            shorter = np.flatnonzero(lengths[order[full:stop]] < longest * (1 - WASTE))
            stop = full + int(shorter[0]) if len(shorter) else stop
        result.append(order[start:stop])
        start = stop
    return result


def batches_of_tokens(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """As `batches`, for texts that are not padded: at most `budget` tokens together, longest texts first."""
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    result, start = [], 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        result.append(order[start:stop])
        start = stop
    return result


def n_padded_tokens(lengths: NDArray[np.int64], batch: NDArray[np.int64]) -> int:
    """The tokens of a batch that `batches` gave, padding counted."""
    return len(batch) * int(lengths[batch].max())


def n_real_tokens(lengths: NDArray[np.int64], batch: NDArray[np.int64]) -> int:
    """The tokens of a batch that is not padded."""
    return int(lengths[batch].sum())
