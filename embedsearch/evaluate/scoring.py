"""Every paper's scores for the queries of a set, as the store's own search computes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedsearch import keywords
from embedsearch.corpus import to_text
from embedsearch.encoders import Role
from embedsearch.evaluate.asking import Scored, allocate
from embedsearch.evaluate.entries import Entry, Papers
from embedsearch.evaluate.queries import QuerySet
from embedsearch.keywords import KeywordQuery, Keywords, clean
from embedsearch.scores import Float32, Rows, at_least_kth, cosines
from embedsearch.store.catalogue import StoredPaper
from embedsearch.texts import Template

LEADERS = 128
"""Papers whose cosines are computed once more, in the order of summation that search has: the others are off by a last
digit at most."""

Tick = Callable[[int, int], None]
"""Called with how many queries are done, and of how many."""


def no_tick(done: int, total: int) -> None:
    """For who need not see it."""


def score(
    found: QuerySet,
    entry: Entry,
    papers: Papers,
    rows: Rows,
    *,
    words: Float32 | None = None,
    by_words: bool = True,
    tick: Tick = no_tick,
) -> Scored:
    """The scores of `papers`, which are the entry's `rows`, for the queries of `found`.

    `words` (q, n) is the BM25 of the papers where it is one for all entries; else the entry's own index is asked,
    unless no words are wanted (`by_words`). What search answers first without a score, a paper whose id or whole title
    the query is, has no part in it.
    """
    texts = [clean(query.text) for query in found.queries]
    answers = tuple({papers.position_of[id]: gain for id, gain in q.relevant.items()} for q in found.queries)
    cosine = None
    if entry.is_dense:
        cosine = _cosine(texts, _Vectors.of(entry, papers, rows, found), answers)
    bm25 = words
    if words is None and by_words:
        bm25 = _own_words(texts, entry, rows, cosine, tick)
    if cosine is not None:
        for i, query in enumerate(found.queries):
            cosine[i, _positions(papers, query.left_out)] = np.nan
    return Scored(
        name=entry.name,
        ids=papers.ids,
        queries=tuple(texts),
        relevant=answers,
        cosine=cosine,
        bm25=bm25,
        known_items=found.known_items,
        weight=entry.view.hybrid_weight,
    )


class Words:
    """Keyword indexes of `papers` as sets of queries want them; one serves several sets. As a context: they are in a
    temporary folder."""

    def __init__(self, papers: Papers) -> None:
        self._papers = papers
        self._folder = tempfile.TemporaryDirectory(prefix="embedsearch-")
        self._opened: dict[tuple[bool, frozenset[str]], Keywords] = {}

    def __enter__(self) -> Words:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.clear()
        self._folder.cleanup()

    def scores(self, found: QuerySet, *, tick: Tick = no_tick) -> Float32:
        """BM25 of the papers for the queries of `found`, were they all there is: (q, n).

        Their titles are searched as well where `found` says so, and what it changed is as it says.
        """
        papers, words = self._papers, self._index(found)
        scores = allocate(len(found), len(papers))
        for i, query in enumerate(found.queries):
            rows, values = words.candidates(KeywordQuery.parse(query.text), len(papers))
            scores[i, rows] = values
            scores[i, _positions(papers, query.left_out)] = 0
            tick(i + 1, len(found))
        return scores

    def _index(self, found: QuerySet) -> Keywords:
        key = (found.titles, frozenset(found.changed))
        if key not in self._opened:
            folder = Path(self._folder.name) / str(len(self._opened))
            keywords.build(folder, _texts(found, self._papers))
            self._opened[key] = Keywords(folder)
        return self._opened[key]


def _texts(found: QuerySet, papers: Papers) -> Iterator[StoredPaper]:
    for stored in papers:
        changed = found.changed.get(stored.paper.id)
        abstract = stored.abstract if changed is None else to_text(changed.abstract)
        yield replace(stored, title=stored.title if found.titles else "", abstract=abstract)


def _positions(papers: Papers, ids: tuple[str, ...]) -> list[int]:
    return [papers.position_of[id] for id in ids if id in papers.position_of]


def _own_words(texts: list[str], entry: Entry, rows: Rows, cosine: Float32 | None, tick: Tick) -> Float32:
    """BM25 by the entry's own index. What lacks a phrase of the query has none, and loses its cosine."""
    view, scores = entry.view, allocate(len(texts), len(rows))
    for i, text in enumerate(texts):
        query = KeywordQuery.parse(text)
        found, values = view.keywords.candidates(query, view.n_papers)
        all_rows = np.zeros(view.n_rows, np.float32)
        all_rows[found] = values
        scores[i] = all_rows[rows]
        quoted = view.keywords.quoted(query, view.n_rows)
        if quoted is not None and cosine is not None:
            cosine[i, ~quoted[rows]] = np.nan
        tick(i + 1, len(texts))
    return scores


@dataclass(frozen=True, kw_only=True, eq=False)
class _Vectors:
    """Vectors by position: the store's, and those of papers that are changed."""

    entry: Entry
    rows: Rows
    changed: Mapping[int, Float32]

    @classmethod
    def of(cls, entry: Entry, papers: Papers, rows: Rows, found: QuerySet) -> _Vectors:
        """Embeds what is changed."""
        if not found.changed:
            return cls(entry=entry, rows=rows, changed={})
        template = Template.parse(entry.view.generation.template)
        vectors = entry.embed([template.render(paper) for paper in found.changed.values()], Role.DOCUMENT)
        positions = [papers.position_of[id] for id in found.changed]
        return cls(entry=entry, rows=rows, changed=dict(zip(positions, vectors, strict=True)))

    def blocks(self) -> Iterator[tuple[Rows, Float32]]:
        """(positions (n,), vectors (n, dim)), the store's first."""
        position_of = np.full(self.entry.view.n_rows, -1, np.int64)
        position_of[self.rows] = np.arange(len(self.rows))
        for first, block in self.entry.view.vectors.blocks():
            positions = position_of[first : first + len(block)]
            yield positions[positions >= 0], block[positions >= 0]
        if self.changed:
            yield np.array(list(self.changed), np.int64), np.stack(list(self.changed.values()))

    def at(self, positions: Rows) -> Float32:
        """(m, dim) of `positions` (m,)."""
        vectors = self.entry.view.read(self.rows[positions])
        for i, position in enumerate(positions.tolist()):
            if position in self.changed:
                vectors[i] = self.changed[position]
        return vectors


def _cosine(texts: list[str], vectors: _Vectors, answers: tuple[Mapping[int, int], ...]) -> Float32:
    """(q, n) float32. Sums in float64, those of the best and of the answers once more by `scores.cosines`."""
    queries = vectors.entry.embed(texts, Role.QUERY)
    scores = allocate(len(texts), len(vectors.rows))
    wide = queries.astype(np.float64)
    for positions, block in vectors.blocks():
        scores[:, positions] = wide @ block.T.astype(np.float64)
    for i, query in enumerate(queries):
        leading = at_least_kth(scores[i], LEADERS)
        leading[list(answers[i])] = True
        near = np.flatnonzero(leading)
        scores[i, near] = cosines(query, vectors.at(near))
    return scores
