"""The queries that are answered worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedsearch.evaluate.asking import Scored
from embedsearch.evaluate.entries import Papers
from embedsearch.scores import Rows
from embedsearch.search import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A query that an entry answers badly: the rank of the first paper that answers, and what comes first instead.

    `rank` is None where that paper is not among the answers.
    """

    entry: str
    queries: str
    mode: str
    query: str
    rank: int | None
    wanted: str
    wanted_title: str
    first: str | None
    first_title: str


def worst_of(queries: str, mode: Mode, ranks: Rows, scored: Scored, papers: Papers, n: int) -> list[Miss]:
    """The n queries with the highest `ranks` (q,), which are those of `scored` by `mode`, where they are above 1."""
    order = [i for i in np.argsort(-ranks, kind="stable")[:n].tolist() if ranks[i] > 1]
    if not order:
        return []
    chosen = scored.select(order)
    firsts = [int(rows[0]) if len(rows) else None for rows, _ in chosen.top(mode, 1)]
    answers = chosen.best_answers(mode)
    rows = list({row for row in [*firsts, *(row for row, _ in answers)] if row is not None})
    title_of = dict(zip(rows, (stored.title for stored in papers.at(rows)), strict=True))
    return [
        Miss(
            entry=scored.name,
            queries=queries,
            mode=mode.value,
            query=query,
            rank=int(ranks[at]) if is_found else None,
            wanted=papers.ids[row],
            wanted_title=title_of[row],
            first=None if first is None else papers.ids[first],
            first_title="" if first is None else title_of[first],
        )
        for at, query, first, (row, is_found) in zip(order, chosen.queries, firsts, answers, strict=True)
    ]
