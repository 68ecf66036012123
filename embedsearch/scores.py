"""Similarities: the one place where they are computed.

An index proposes rows, this module decides: `cosines` is the only function that makes a similarity that a user sees.
Everything faster (a float32 matrix product, FAISS, torch) only narrows down the rows that it is asked about, by a
margin that its rounding errors cannot cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import BadVector

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK_ROWS = 2048
"""Side of a block of scores: 16 MiB in float32."""

PART_NUMBERS = 2**15
"""Numbers that are widened to float64 at a time: 256 KiB."""

TOLERANCE = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1e-2}
"""How far a cosine may lie from the float64 one where vectors, or the products, have this dtype. `float32` and
`float16` are the dtypes of a store; bfloat16 is that of a forward pass."""


def unit_rows(rows: NDArray[np.floating]) -> Float32:
    """`rows` (n, d) scaled to length one, as float32; lengths are summed in float64.

    Raises BadVector, which names the first such position, if a row has length zero or is not finite.
    """
    out = np.empty(rows.shape, np.float32)
    for part in _parts(rows):
        wide = rows[part].astype(np.float64)
        with np.errstate(over="ignore"):  # is found below
            lengths = np.sqrt(np.add.reduce(wide * wide, axis=-1))
        bad = ~(np.isfinite(lengths) & (lengths > 0))
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            found = "length zero" if lengths[first] == 0 else "a value that is not finite"
            position = part.start + first
            message = f"expected finite vectors that are not zero, found {found} at position {position}"
            raise BadVector(message, position=position)
        out[part] = np.divide(wide, lengths[:, None], out=wide)
    return out


def cosines(query: Float32, rows: Float32) -> Float32:
    """Inner products of `query` (d,) with each of `rows` (n, d), all of unit length: (n,) float32.

    Accumulated in float64 in an order that depends on d alone, so that a paper's score is the same bit for bit
    whichever rows it is computed beside. (A matrix product has no such promise: BLAS chooses its order by shape.)
    """
    scores = np.empty(len(rows), np.float32)
    wide = query.astype(np.float64)
    for part in _parts(rows):
        block = rows[part].astype(np.float64)
        scores[part] = np.add.reduce(np.multiply(block, wide, out=block), axis=-1)
    return scores


def _parts(rows: NDArray[np.floating]) -> Iterator[slice]:
    """All of `rows` (n, d), a little at a time: what stays in a core's cache is not fetched from memory twice."""
    step = max(1, PART_NUMBERS // max(1, rows.shape[-1]))
    for start in range(0, len(rows), step):
        yield slice(start, start + step)


def product_margin(dim: int) -> float:
    """Largest difference between a float32 inner product of unit rows in any order of summation and the true one.

    Higham, Accuracy and Stability of Numerical Algorithms (2002), eq. 3.5: d u / (1 - d u) with u = 2^-24; twice
    that, since rows are of unit length only to rounding.
    """
    return 2 * dim * 2.0**-24


def best_first(scores: Sequence[float] | Float32, ids: Sequence[str]) -> list[int]:
    """Positions in the one order of hits: by score, highest first, and by id where scores are equal."""
    return sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))


def at_least_kth(scores: Float32, k: int) -> Mask:
    """Which of `scores` (n,) belong to the best k, the whole group of ties at the boundary with them."""
    if len(scores) <= k:
        return np.ones(len(scores), bool)
    kth = float(np.partition(scores, len(scores) - k)[len(scores) - k])
    return np.greater_equal(scores, kth)


def exact_top_k(
    queries: Float32, blocks: Iterable[tuple[int, Float32]], k: int, *, allowed: Mask | None = None
) -> list[tuple[Rows, Float32]]:
    """For each of `queries` (q, d) the k rows of highest cosine, with all that tie with the last of them.

    `blocks` yields (first row, (n, d) float32); `allowed` is a mask over all rows. Each answer is (rows, scores) in
    the order of the rows: `best_first` orders them once their ids are known. Memory: one block, and the candidates.
    """
    found = [_Candidates(k) for _ in queries]
    for first, block in blocks:
        margin = product_margin(block.shape[1])
        usable = None if allowed is None else np.flatnonzero(allowed[first : first + len(block)])
        if usable is not None:
            block = block[usable]
        if not len(block):
            continue
        for query, rough, candidates in zip(queries, queries @ block.T, found, strict=True):
            near = np.flatnonzero(candidates.may_enter(rough, margin))
            rows = near if usable is None else usable[near]
            candidates.add(rows + first, cosines(query, block[near]))
    return [candidates.best() for candidates in found]


class _Candidates:
    """The best k of all rows seen so far, and their ties."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.rows: Rows = np.empty(0, np.int64)
        self.scores: Float32 = np.empty(0, np.float32)

    def may_enter(self, rough: Float32, margin: float) -> Mask:
        """Which of the approximate scores could belong to the best k."""
        bound = -np.inf
        if len(self.scores) >= self.k:
            bound = float(self.scores.min())
        if len(rough) > self.k:
            bound = max(bound, float(np.partition(rough, len(rough) - self.k)[len(rough) - self.k]) - margin)
        return rough >= bound - margin

    def add(self, rows: Rows, scores: Float32) -> None:
        self.rows = np.concatenate([self.rows, rows])
        self.scores = np.concatenate([self.scores, scores])
        keep = at_least_kth(self.scores, self.k)
        self.rows, self.scores = self.rows[keep], self.scores[keep]

    def best(self) -> tuple[Rows, Float32]:
        return self.rows, self.scores
