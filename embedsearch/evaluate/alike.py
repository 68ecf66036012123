"""Near-duplicates of the papers that answer: found in the place of the right one, they count as it.

A title that two papers share, or an abstract that was revised under a second id, makes a search look wrong that is not.
The best score of a right paper and its near-duplicates is then the right paper's, and the others are not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedsearch.duplicates.groups import CROWDED, centred, check_cosine, leaves_something, mean_cosine
from embedsearch.duplicates.scan import Read, near_to
from embedsearch.errors import OptionError
from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.evaluate.queries import QuerySet
from embedsearch.scores import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """For each paper that answers, by position, the others of a cosine of at least `min_cosine` under the model
    `entry`, or of the same whole title. `is_centered`: about the mean of the papers, since any two are alike there."""

    entry: str
    min_cosine: float
    is_centered: bool
    others: Mapping[int, tuple[int, ...]]

    def applied(self, scored: Scored) -> Scored:
        """The same queries, where near-duplicates of the papers that answer count as these."""
        alike = tuple(
            {
                right: tuple(other for other in self.others[right] if other not in relevant)
                for right in relevant
                if right in self.others
            }
            for relevant in scored.relevant
        )
        return replace(scored, alike=alike)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeChange:
    """What it changes to count near-duplicates: of `n_queries` those that have any, those whose rank is another, and
    MRR@10 without it (the figures are with it)."""

    entry: str
    queries: str
    mode: str
    n_queries: int
    n_with: int
    n_changed: int
    mrr_without: float
    mrr_with: float


def find_alike(entries: Sequence[Entry], papers: Papers, sets: Sequence[QuerySet], min_cosine: float) -> Alike:
    """The near-duplicates of all papers that answer a query of `sets`, under the first of `entries` that has vectors.

    Raises OptionError where none has, and for a cosine that is not above 0 and at most 1.
    """
    check_cosine(min_cosine)
    has = [bool(entry.view.vectors.has(rows).all()) for entry, rows in zip(entries, papers.rows, strict=True)]
    if not any(has):
        raise OptionError("expected vectors of all papers by which near-duplicates are told, found none")
    entry, rows = entries[has.index(True)], papers.rows[has.index(True)]
    ids = {id for found in sets for query in found.queries for id in query.relevant}
    rights = np.sort(np.array([papers.position_of[id] for id in ids], np.int64))
    read, is_centered = _reading(lambda first, end: entry.view.read(rows[first:end]), len(papers))
    others: dict[int, set[int]] = {right: set() for right in rights.tolist()}
    vectors = np.concatenate([read(right, right + 1) for right in rights.tolist()])
    for at, positions in near_to(vectors, read, len(papers), min_cosine):
        for right, position in zip(rights[at].tolist(), positions.tolist(), strict=True):
            others[right].add(position)
    for right, position in _of_one_title(papers, rights):
        others[right].add(position)
    return Alike(
        entry=entry.name,
        min_cosine=min_cosine,
        is_centered=is_centered,
        others={right: tuple(sorted(found - {right})) for right, found in others.items() if found - {right}},
    )


def _reading(read: Read, n: int) -> tuple[Read, bool]:
    """How vectors are read, and whether about their mean."""
    crowding, mean = mean_cosine(read, n)
    if n < 3 or crowding <= CROWDED or not leaves_something(read, n, mean):
        return read, False
    return lambda first, end: centred(read(first, end), mean), True


def _of_one_title(papers: Papers, rights: Rows) -> list[tuple[int, int]]:
    position_of = {row: i for i, row in enumerate(papers.rows[0].tolist())}
    return [
        (right, position_of[row])
        for right, stored in zip(rights.tolist(), papers.at(rights.tolist()), strict=True)
        for row in papers.catalogue.rows_of_title(stored.title)
        if row in position_of
    ]
