"""From new rows and a library to a day's list: the nearest, why they are, and how unusual that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from embedsearch.errors import OptionError, QueryError
from embedsearch.pairs.divergent.known_papers import KnownPapers
from embedsearch.pairs.divergent.reasons import shared_terms
from embedsearch.scores import Rows
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import build_command, now
from embedsearch.today.day import DayList, DayPaper, Near
from embedsearch.today.ranking import Ranked, n_at_least, rank

NEAREST_SHOWN = 3
YEAR = timedelta(days=365)
ENOUGH = 100
"""Of fewer papers of the year before, a percentile says nothing."""
RARE = 0.03
"""The share of all papers that may have a shared term: with 2 %, as for pairs of any papers, half of the papers that
were near to a library on dwarf galaxies had no term at all to show; "quenched" is in 2.6 % of the papers there."""
LONGEST = 1000
"""Papers in a list: more are no list that somebody reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Liked:
    """A library in a store: its `rows` (m,) int64, how it was named, and what of it the store does not hold."""

    rows: Rows
    labels: tuple[str, ...]
    missing: tuple[str, ...] = ()


def list_day(
    view: StoreView,
    new: Rows,
    liked: Liked,
    *,
    since: date,
    until: date,
    n: int = 20,
    min_percentile: float | None = None,
) -> DayList:
    """The n of the rows `new` that are nearest to a library, as a list of the days from `since` to `until`.

    Papers of the library itself are not listed. Percentiles are among the papers of the store that were published in
    the 365 days before `since`, without the new ones and the library; of fewer than ENOUGH there are none. With
    `min_percentile`, papers below it are left out; where there are no percentiles, it does nothing. Raises OptionError
    for an n outside of 1 to LONGEST, or a percentile that is none; QueryError where the library has no vectors yet.
    """
    if not 1 <= n <= LONGEST:
        raise OptionError(f"expected 1 to {LONGEST:,} papers in a list, found {n:,}")
    if min_percentile is not None and not 0 <= min_percentile <= 100:
        raise OptionError(f"expected a percentile from 0 to 100, found {min_percentile:g}")
    library = _with_vectors(view, liked.rows)
    if not len(library):
        raise QueryError(
            f"expected vectors of the {len(liked.rows):,} papers that the new ones are to be near to, found none yet:"
            f" finish the index with {build_command(view.folder)}"
        )
    new = np.setdiff1d(_with_vectors(view, new), library)
    ranked = rank(view, new, library, n=n, k=NEAREST_SHOWN)
    year = _year_before(view, since, np.union1d(new, library))
    as_near = None
    if ranked and len(year) >= ENOUGH:
        as_near = n_at_least(view, year, library, np.array([each.score for each in ranked], np.float32)).tolist()
        if min_percentile is not None:
            kept = [i for i, n in enumerate(as_near) if _percentile(n, len(year)) >= min_percentile]
            ranked, as_near = [ranked[i] for i in kept], [as_near[i] for i in kept]
    return DayList(
        made=now(),
        since=since.isoformat(),
        until=until.isoformat(),
        library=list(liked.labels),
        n_library=len(library),
        n_new=len(new),
        papers=_described(view, ranked, as_near, len(year)),
        missing=list(liked.missing),
        n_year=len(year),
    )


def _with_vectors(view: StoreView, rows: Rows) -> Rows:
    rows = np.unique(np.asarray(rows, np.int64))
    return rows[view.vectors.has(rows)]


def _year_before(view: StoreView, since: date, others: Rows) -> Rows:
    """The rows with vectors of the papers that were published in the year before `since`, without `others`."""
    last = since - timedelta(days=1)
    mask = view.catalogue.allowed(Filters(since=(since - YEAR).isoformat(), until=last.isoformat()))
    mask[others] = False
    return _with_vectors(view, np.flatnonzero(mask))


def _percentile(n_as_near: int, n_year: int) -> float:
    return 100 * (n_year - n_as_near) / n_year


def _described(view: StoreView, ranked: Sequence[Ranked], as_near: Sequence[int] | None, n_year: int) -> list[DayPaper]:
    if not ranked:
        return []
    known = KnownPapers(view.folder)
    rows = np.unique(np.concatenate([np.append(each.nearest, each.row) for each in ranked]))
    stored = dict(zip(rows.tolist(), view.catalogue.papers(rows), strict=True))
    papers = []
    for i, each in enumerate(ranked):
        near = [stored[row] for row in each.nearest.tolist()]
        texts = _text(stored[each.row]), _text(near[0])
        shared = shared_terms(*texts, n_with=known.n_with, n_papers=view.n_papers, rare=RARE)
        terms = [one.term for one in shared]
        n = None if as_near is None else as_near[i]
        papers.append(_paper(stored[each.row], each, near, terms, n, n_year))
    return papers


def _paper(
    stored: StoredPaper, ranked: Ranked, near: Sequence[StoredPaper], terms: list[str], n: int | None, n_year: int
) -> DayPaper:
    return DayPaper(
        id=stored.paper.id,
        title=stored.title,
        authors=list(stored.authors),
        categories=list(stored.paper.categories),
        published=stored.paper.published,
        cosine=_short(ranked.score),
        nearest=[
            Near(id=other.paper.id, title=other.title, cosine=_short(float(cosine)))
            for other, cosine in zip(near, ranked.cosines, strict=True)
        ],
        terms=terms,
        percentile=None if n is None else _percentile(n, n_year),
        n_as_near=n,
        abstract=stored.abstract,
    )


def _text(stored: StoredPaper) -> str:
    return f"{stored.title}. {stored.abstract}"


def _short(cosine: float) -> float:
    """float32 to as many digits as tell float32 numbers apart."""
    return float(f"{cosine:.9g}")
