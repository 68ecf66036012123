"""The rows that answer best: by meaning, by words, or by both.

Indexes propose them; every score comes from the stored vectors, or from tantivy's BM25.
"""

from __future__ import annotations

import numpy as np

from embedsearch.errors import StoreError
from embedsearch.keywords import KeywordQuery
from embedsearch.scores import Float32, Mask
from embedsearch.search.modes import Mode
from embedsearch.search.scored import Lists, Scored, mixed
from embedsearch.search.view import Around, StoreView
from embedsearch.store.manifest import build_command

FIRST_LISTED = 40
"""Papers of each list that a hybrid search begins with, 4 k for more hits."""

WORDS_AHEAD = 8
"""Times as many are listed by words: that takes little longer, and lowers what a paper outside of both lists can have.
Of 120 titles of 300,000 papers none needs more for ten hits, and half of as many pairs of words; with 1, twice that."""


def dense(view: StoreView, query: Float32 | None, k: int, mask: Mask | None) -> Scored:
    """The best k by meaning, their ties, and more. Raises StoreError while no paper has a vector."""
    if query is None or not view.vectors.n_rows:
        raise StoreError(
            f"expected vectors in {view.folder}, found none yet: finish it with {build_command(view.folder)}"
        )
    found = view.around(query, k, mask)
    return Scored(found.rows, found.cosines, found.cosines)


def keyword(view: StoreView, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
    """The best k by words, and their ties."""
    rows, scores = view.keywords.candidates(words, k, allowed=mask)
    return Scored(rows, scores, np.full(len(rows), np.nan, np.float32))


def and_alike(view: StoreView, row: int, k: int, mask: Mask | None, mode: Mode) -> Scored:
    """The paper of this row, and those nearest to it."""
    if mode is Mode.KEYWORD or not view.vectors.has(np.array([row]))[0]:
        rows = np.array([row] if mask is None or mask[row] else [], np.int64)
        return Scored(rows, np.ones(len(rows), np.float32), np.full(len(rows), np.nan, np.float32))
    return dense(view, view.read(np.array([row]))[0], k, mask)


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
    unknown = np.full(len(missing), np.nan, np.float32)
    cosine = view.cosines(query, missing) if query is not None else unknown
    more = mixed(missing, cosine, bm25, view.keywords.best(words), view.hybrid_weight)
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
        listed = view.keywords.listed(words, WORDS_AHEAD * m, allowed=mask)
        if query is not None and listed.best == 0.0:
            return dense(view, query, k, mask)
        found = view.around(query, m, mask, others=listed.rows) if query is not None else Around.of_words(listed.rows)
        lists = Lists.of(found, listed, m=m, weight=view.hybrid_weight)
        scored = _scored(view, words, lists, k)
        # Without a vector, a paper that has no word of the query either has nothing to be found by.
        exhausted = len(lists.rows) >= n_allowed or (query is None and len(listed.rows) < WORDS_AHEAD * m)
        if exhausted or m >= n_allowed or lists.settle(scored, k):
            return scored
        m *= 4


def _scored(view: StoreView, words: KeywordQuery, lists: Lists, k: int) -> Scored:
    """Those of both lists that can be among the best k, with their scores."""
    kept = lists.may_lead(k)
    rows, bm25 = lists.rows[kept], lists.at_least[kept]
    unknown = bm25 != lists.at_most[kept]
    if unknown.any():
        bm25[unknown] = view.keywords.bm25(words, rows[unknown])
    return mixed(rows, lists.cosines[kept], bm25, lists.best, lists.weight)
