"""Papers like several: scored by the nearest of them, or by their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.errors import BadVector, QueryError
from embedsearch.scores import Float32, Mask, Rows, at_least_kth, cosines, product_margin, unit_rows
from embedsearch.search.asking import log
from embedsearch.search.scored import Scored
from embedsearch.search.view import NO_ROWS, StoreView
from embedsearch.store.manifest import build_command

BLOCK_NUMBERS = 2**23
"""Similarities of a block, papers times chosen ones: 32 MiB in float32."""

NAMED = 3
"""So many of the chosen papers are named where all cannot be."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The papers that others are to be like, each once. `ids` (m,) are in order, `vectors` (m, dim) are theirs.

    `rows` are those of all that were asked for, also of such as have no vector yet: none of them may answer.
    """

    ids: tuple[str, ...]
    vectors: Float32
    rows: Rows

    @classmethod
    def of(cls, view: StoreView, asked: Sequence[str]) -> Chosen:
        """Raises PaperNotFound; QueryError for no paper, and where none has a vector yet."""
        rows = np.unique(np.array([view.row_of(id) for id in asked], np.int64))
        if not len(rows):
            raise QueryError("expected the ids of one or more papers, found none")
        has = view.vectors.has(rows)
        usable = rows[has]
        if not len(usable):
            raise QueryError(
                f"expected papers that have a vector, found none of {len(rows):,} with one yet: finish the index with"
                f" {build_command(view.folder)}"
            )
        if not has.all():
            log.warning("%s of the %s papers have no vector yet: left out", f"{sum(~has):,}", f"{len(rows):,}")
        # By id, so that neither the order of the call nor that of the rows has a say where two are equally near.
        by_id = sorted(zip(view.catalogue.ids(usable), usable.tolist(), strict=True))
        return cls(tuple(id for id, _ in by_id), view.read(np.array([row for _, row in by_id])), rows)

    @property
    def named(self) -> str:
        """As a result says what was asked for."""
        if len(self.ids) <= NAMED + 1:
            return ", ".join(self.ids)
        return f"{', '.join(self.ids[:NAMED])} and {len(self.ids) - NAMED:,} more"

    def mean(self) -> Float32:
        """The mean of the vectors, of unit length: (dim,). Raises QueryError where they cancel."""
        try:
            unit: Float32 = unit_rows(self.vectors.mean(axis=0, dtype=np.float64)[None])[0]
        except BadVector:
            raise QueryError(
                f"expected papers whose vectors have a mean, found {len(self.ids):,} that cancel each other: combine"
                " them by the nearest"
            ) from None
        return unit

    def nearest(self, vectors: Float32) -> list[str]:
        """The id of the one that each of `vectors` (n, dim) is nearest to; of equally near ones the smallest."""
        step = max(1, BLOCK_NUMBERS // len(self.ids))
        found: list[str] = []
        for start in range(0, len(vectors), step):
            found += [self.ids[i] for i in nearest_of(vectors[start : start + step], self.vectors)[1]]
        return found


def near_any(view: StoreView, chosen: Float32, k: int, mask: Mask) -> Scored:
    """The best k allowed rows by their highest cosine with any of `chosen` (m, dim), and their ties.

    Only rows are looked at that are among the best k, ties included, of one of `chosen`: any other has k rows that are
    nearer to the one that it is nearest to. Memory: the blocks, and k rows for each of `chosen`.
    """
    rows = view.nearest_of_each(chosen, k, mask)
    best, scores = NO_ROWS, np.empty(0, np.float32)
    step = max(1, BLOCK_NUMBERS // max(len(chosen), chosen.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        near, more = _may_lead(view.read(part), chosen, k, scores)
        best, scores = np.concatenate([best, part[near]]), np.concatenate([scores, more])
        kept = at_least_kth(scores, k)
        best, scores = best[kept], scores[kept]
    return Scored(best, scores, scores)


def nearest_of(vectors: Float32, chosen: Float32) -> tuple[Float32, Rows]:
    """For each of `vectors` (n, dim) its highest cosine with any of `chosen` (m, dim), and the first that has it.

    All are unit rows; (n,) float32 and (n,) int64. Memory: n m numbers.
    """
    scores, which = np.full(len(vectors), -np.inf, np.float32), np.zeros(len(vectors), np.int64)
    rough = chosen @ vectors.T
    may_be = rough >= rough.max(axis=0) - 2 * product_margin(chosen.shape[1])
    for position in np.flatnonzero(may_be.any(axis=1)):
        near = np.flatnonzero(may_be[position])
        exact = cosines(chosen[position], vectors[near])
        better = exact > scores[near]
        scores[near[better]], which[near[better]] = exact[better], position
    return scores, which


def _may_lead(vectors: Float32, chosen: Float32, k: int, before: Float32) -> tuple[Rows, Float32]:
    """Which of `vectors` (n, dim) can be among the best k, and their scores; `before` has the best scores so far."""
    margin = product_margin(chosen.shape[1])
    rough = (chosen @ vectors.T).max(axis=0)
    bound = float(before.min()) if len(before) >= k else -np.inf
    if len(rough) > k:
        bound = max(bound, float(np.partition(rough, len(rough) - k)[len(rough) - k]) - margin)
    near = np.flatnonzero(rough >= bound - margin)
    return near, nearest_of(vectors[near], chosen)[0]
