"""How the best papers of a search spread over categories and years."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from embedsearch.records import Facets


def count_facets(papers: Iterable[tuple[tuple[str, ...], str | None]]) -> Facets:
    """Facets of papers, each given by its categories and its date."""
    categories, years, n = Counter[str](), Counter[str](), 0
    for its_categories, published in papers:
        n += 1
        categories.update(set(its_categories))
        years[(published or "")[:4]] += 1
    return Facets(n_counted=n, categories=_ordered(categories), years=_ordered(years))


def _ordered(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
