"""Scored rows as hits: ordered, cut to k, with what people read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from embedsearch.keywords import KeywordQuery
from embedsearch.records import Hit, SearchResult
from embedsearch.scores import best_first
from embedsearch.search.facets import count_facets
from embedsearch.search.modes import Mode, Sort
from embedsearch.search.view import Scored, StoreView
from embedsearch.sentences import best_sentence
from embedsearch.store.filters import Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a search is to give, whatever it goes by."""

    k: int
    filters: Filters | None
    sort: Sort
    n_counted: int
    """Facets are counted over so many of the best papers; 0: none."""

    @property
    def n_wanted(self) -> int:
        """Papers that must be scored."""
        return max(self.k, self.n_counted)


def make_result(
    view: StoreView,
    query: str,
    mode: Mode,
    scored: Scored,
    ask: Ask,
    words: KeywordQuery,
    *,
    first: Collection[int] = (),
) -> SearchResult:
    """The best k of `scored`; the rows of `first` before all others."""
    ids = view.catalogue.ids(scored.rows)
    order = best_first(scored.scores, ids)
    order.sort(key=lambda i: scored.rows[i] not in first)  # stable: only the papers that were asked for move
    counted = scored.rows[order[: ask.n_counted]]
    order = order[: ask.k]
    stored = view.catalogue.papers(scored.rows[order])
    if ask.sort is Sort.DATE:
        by_date = sorted(range(len(order)), key=lambda i: stored[i].paper.published or "", reverse=True)
        order, stored = [order[i] for i in by_date], [stored[i] for i in by_date]
    hits = []
    for rank, (i, found) in enumerate(zip(order, stored, strict=True), 1):
        cosine = float(scored.cosines[i])
        hits.append(
            Hit(
                rank=rank,
                id=found.paper.id,
                score=float(scored.scores[i]),
                cosine=None if np.isnan(cosine) else cosine,
                title=found.title,
                abstract=found.abstract,
                authors=found.authors,
                categories=found.paper.categories,
                published=found.paper.published,
                sentence=best_sentence(found.abstract, words, rarity=view.keywords.rarity),
                paper=found.paper,
            )
        )
    facets = count_facets(view.catalogue.facet_values(counted)) if ask.n_counted else None
    return SearchResult(query=query, mode=mode.value, hits=tuple(hits), facets=facets)
