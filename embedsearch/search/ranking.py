"""The rows that answer best: by meaning, by words, or by both.

Indexes propose them; every score comes from the stored vectors, or from tantivy's BM25.
"""

from __future__ import annotations

import numpy as np

from embedsearch.errors import StoreError
from embedsearch.keywords import KeywordQuery
from embedsearch.scores import Float32, Mask, Rows, cosines
from embedsearch.search.modes import Mode
from embedsearch.search.scored import Scored, are_settled, mixed
from embedsearch.search.view import StoreView
from embedsearch.store.manifest import build_command

FIRST_LISTED = 40
"""Papers of each list that a hybrid search begins with, 4 k for more hits: of 300 queries to 10,000 papers, 289 need no
more for ten hits, and all of them go by 160."""

SCANNED_ROWS = 20_000
"""Up to so many allowed papers are scanned one by one: cheaper than an index, and always exact."""


def dense(view: StoreView, query: Float32 | None, k: int, mask: Mask | None) -> Scored:
    """The best k by meaning, their ties, and more. Raises StoreError while no paper has a vector."""
    if query is None or not view.vectors.n_rows:
        raise StoreError(
            f"expected vectors in {view.folder}, found none yet: finish it with {build_command(view.folder)}"
        )
    rows = _nearest(view, query, k, mask)
    scores = cosines(query, view.vectors.rows(rows))
    return Scored(rows, scores, scores)


def keyword(view: StoreView, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
    """The best k by words, and their ties."""
    rows, scores = view.keywords.candidates(words, k, allowed=mask)
    return Scored(rows, scores, np.full(len(rows), np.nan, np.float32))


def and_alike(view: StoreView, row: int, k: int, mask: Mask | None, mode: Mode) -> Scored:
    """The paper of this row, and those nearest to it."""
    if mode is Mode.KEYWORD or not view.vectors.has(np.array([row]))[0]:
        rows = np.array([row] if mask is None or mask[row] else [], np.int64)
        return Scored(rows, np.ones(len(rows), np.float32), np.full(len(rows), np.nan, np.float32))
    return dense(view, view.vectors.rows(np.array([row]))[0], k, mask)


def by(view: StoreView, mode: Mode, query: Float32 | None, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
    """The best k by a mode, their ties, and more."""
    if mode is Mode.KEYWORD:
        return keyword(view, words, k, mask)
    return dense(view, query, k, mask) if mode is Mode.DENSE else hybrid(view, query, words, k, mask)


def including(
    view: StoreView, rows: list[int], scored: Scored, mode: Mode, query: Float32 | None, words: KeywordQuery
) -> Scored:
    """`scored` with those of `rows` that it lacks, scored in the same way."""
    if not rows:
        return scored
    missing = np.setdiff1d(np.array(rows, np.int64), scored.rows)
    if mode is Mode.DENSE:
        missing = missing[view.vectors.has(missing)]
    if not len(missing):
        return scored
    bm25 = view.keywords.bm25(words, missing)
    more = _both(view, query, missing, bm25, view.keywords.best(words))
    scores = {Mode.DENSE: more.cosines, Mode.HYBRID: more.scores, Mode.KEYWORD: bm25}
    return Scored(
        np.concatenate([scored.rows, missing]),
        np.concatenate([scored.scores, scores[mode]]),
        np.concatenate([scored.cosines, more.cosines]),
    )


def hybrid(view: StoreView, query: Float32 | None, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
    """The best k by w cosine + (1 - w) BM25 / best BM25, from the first m of both lists.

    No paper beyond them can score more than the m-th of each would together (Fagin's threshold algorithm, 2001):
    m grows until the k-th hit is above that, so the answer does not depend on m.
    """
    n_allowed = view.n_papers if mask is None else int(mask.sum())
    m = max(FIRST_LISTED, 4 * k)
    while True:
        listed = view.keywords.candidates(words, m, allowed=mask)
        best = float(listed[1].max(initial=0.0)) if mask is None else view.keywords.best(words)
        if query is not None and best == 0.0:
            return dense(view, query, k, mask)
        near = _nearest(view, query, m, mask) if query is not None else np.empty(0, np.int64)
        rows = np.union1d(near, listed[0])
        scored = _both(view, query, rows, _bm25_of(view, words, rows, listed, m), best)
        # Without a vector, a paper that has no word of the query either has nothing to be found by.
        exhausted = len(rows) >= n_allowed or (query is None and len(listed[0]) < m)
        if exhausted or m >= n_allowed or are_settled(scored, near, listed[1], best, m=m, k=k):
            return scored
        m *= 4


def _bm25_of(view: StoreView, words: KeywordQuery, rows: Rows, listed: tuple[Rows, Float32], m: int) -> Float32:
    """BM25 of `rows` (n,), sorted, among which are the best m and their ties, `listed` with their BM25."""
    bm25, missing = np.zeros(len(rows), np.float32), np.ones(len(rows), bool)
    at = np.searchsorted(rows, listed[0])
    bm25[at], missing[at] = listed[1], False
    if len(listed[0]) >= m and missing.any():  # fewer than m: no other paper has a word of the query
        bm25[missing] = view.keywords.bm25(words, rows[missing])
    return bm25


def _both(view: StoreView, query: Float32 | None, rows: Rows, bm25: Float32, best: float) -> Scored:
    return mixed(rows, _cosines_of(view, query, rows), bm25, best)


def _cosines_of(view: StoreView, query: Float32 | None, rows: Rows) -> Float32:
    """NaN where there is no vector."""
    if query is not None and (has := view.vectors.has(rows)).all():
        return cosines(query, view.vectors.rows(rows))
    cosine = np.full(len(rows), np.nan, np.float32)
    if query is not None:
        cosine[has] = cosines(query, view.vectors.rows(rows[has]))
    return cosine


def _nearest(view: StoreView, query: Float32, k: int, mask: Mask | None) -> Rows:
    """Rows that hold the k allowed ones of highest cosine, and more."""
    if mask is not None:
        rows = np.flatnonzero(mask)
        rows = rows[view.vectors.has(rows)]
        if len(rows) <= max(SCANNED_ROWS, k):
            return rows
        mask = np.zeros(view.n_papers, bool)
        mask[rows] = True
    return view.ann.candidates(query[None], k, allowed=mask)[0]
