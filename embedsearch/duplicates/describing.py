"""Pairs and groups of papers as people want to know them: titles, kinds and the words that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from embedsearch.duplicates.kinds import kind_of
from embedsearch.duplicates.results import DuplicatePair, Group
from embedsearch.duplicates.words import compare_words
from embedsearch.scores import Rows
from embedsearch.search.view import StoreView

READ_AT_ONCE = 500


def named_groups(view: StoreView, members: list[list[int]], rows: Rows, ids: list[str]) -> tuple[Group, ...]:
    """The groups of `members`, positions in `rows` and `ids` (n,)."""
    title_of = _titles(view, rows[[i for group in members for i in group]])
    return tuple(
        Group(number=number, ids=tuple(ids[i] for i in group), titles=tuple(islice(title_of, len(group))))
        for number, group in enumerate(members, 1)
    )


def members_of(group_of: Rows, ids: list[str]) -> list[list[int]]:
    """The positions of each group of several papers in the order of their ids; the largest group first."""
    members: dict[int, list[int]] = {}
    sizes = np.bincount(group_of, minlength=len(ids))
    for position in np.flatnonzero(sizes[group_of] > 1).tolist():
        members.setdefault(int(group_of[position]), []).append(position)
    groups = [sorted(positions, key=ids.__getitem__) for positions in members.values()]
    return sorted(groups, key=lambda positions: (-len(positions), ids[positions[0]]))


def _titles(view: StoreView, rows: Rows) -> Iterator[str]:
    for start in range(0, len(rows), READ_AT_ONCE):
        yield from (stored.title for stored in view.catalogue.papers(rows[start : start + READ_AT_ONCE]))


def described(
    view: StoreView, pairs: list[tuple[int, int, int, float]], progress: Callable[[int, int], None]
) -> Iterator[DuplicatePair]:
    """Of each (row, other row, number of the group, cosine), in their order, what is told of it."""
    for start in range(0, len(pairs), READ_AT_ONCE):
        some = pairs[start : start + READ_AT_ONCE]
        rows = np.unique(np.array([row for pair in some for row in pair[:2]], np.int64))
        paper_of = dict(zip(rows.tolist(), view.catalogue.papers(rows), strict=True))
        for rank, (row, other, group, cosine) in enumerate(some, start + 1):
            both = (paper_of[row], paper_of[other])
            older, newer = sorted(both, key=lambda stored: (stored.paper.published or "", stored.paper.id))
            common, changes = compare_words(older.abstract, newer.abstract)
            told = kind_of(older, newer, common)
            yield DuplicatePair(
                rank=rank,
                ids=(older.paper.id, newer.paper.id),
                titles=(older.title, newer.title),
                published=(older.paper.published, newer.paper.published),
                cosine=cosine,
                kind=told.kind,
                why=told.why,
                words_in_common=common,
                changes=changes,
                group=group,
            )
        progress(min(start + READ_AT_ONCE, len(pairs)), len(pairs))
