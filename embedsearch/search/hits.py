"""Scored rows as hits: ordered, cut to k, with what people read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from embedsearch.keywords import KeywordQuery
from embedsearch.records import Hit, SearchResult
from embedsearch.scores import Float32, Rows, at_least_kth, best_first
from embedsearch.search.asking import Ask
from embedsearch.search.facets import count_facets
from embedsearch.search.modes import Mode, Sort
from embedsearch.search.scored import Scored
from embedsearch.search.several import Chosen
from embedsearch.search.view import StoreView
from embedsearch.sentences import Marker


def make_result(
    view: StoreView,
    query: str,
    mode: Mode,
    scored: Scored,
    ask: Ask,
    words: KeywordQuery,
    *,
    first: Collection[int] = (),
    chosen: Chosen | None = None,
) -> SearchResult:
    """The best k of `scored`; the rows of `first` before all others. Each says to which of `chosen` it is nearest."""
    rows, scores, cosines = _leading(scored, ask.n_wanted, first)
    order = best_first(scores, view.catalogue.ids(rows))
    order.sort(key=lambda i: rows[i] not in first)  # stable: only the papers that were asked for move
    counted = rows[order[: ask.n_counted]]
    order = order[: ask.k]
    stored = view.catalogue.papers(rows[order])
    if ask.sort is Sort.DATE:
        by_date = sorted(range(len(order)), key=lambda i: stored[i].paper.published or "", reverse=True)
        order, stored = [order[i] for i in by_date], [stored[i] for i in by_date]
    likes: Sequence[str | None] = [None] * len(order)
    if chosen is not None and len(chosen.ids) > 1:
        likes = chosen.nearest(view.read(rows[order]))
    marker = Marker(words, rarity=view.keywords.rarity)
    hits = []
    for rank, (i, found, like) in enumerate(zip(order, stored, likes, strict=True), 1):
        cosine = float(cosines[i])
        hits.append(
            Hit(
                rank=rank,
                id=found.paper.id,
                score=float(scores[i]),
                cosine=None if math.isnan(cosine) else cosine,
                title=found.title,
                abstract=found.abstract,
                authors=found.authors,
                categories=found.paper.categories,
                published=found.paper.published,
                sentence=marker.best(found.abstract),
                paper=found.paper,
                like=like,
            )
        )
    facets = count_facets(view.catalogue.facet_values(counted)) if ask.n_counted else None
    return SearchResult(query=query, mode=mode.value, hits=tuple(hits), facets=facets)


def _leading(scored: Scored, k: int, first: Collection[int]) -> tuple[Rows, Float32, Float32]:
    """Rows, scores and cosines of the best k of `scored`, all that tie with the last, and the rows of `first`.

    So that ids are read of a few papers alone: the others cannot be among the best k whatever theirs are.
    """
    leading = at_least_kth(scored.scores, k)
    if first:
        leading |= np.isin(scored.rows, list(first))
    return scored.rows[leading], scored.scores[leading], scored.cosines[leading]
