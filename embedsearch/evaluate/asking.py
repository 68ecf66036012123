"""What search would answer, for every paper at once: from which each measure is taken, at any weight of the hybrid."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError
from embedsearch.scores import Float32, Rows, at_least_kth, best_first
from embedsearch.search import Mode
from embedsearch.search.modes import HYBRID_WEIGHT
from embedsearch.search.scored import mixed

IN_MEMORY = 2**28
"""Scores (1 GiB) of which an array is in memory. A larger one is in a temporary file, read as it is needed."""

BLOCK = 2**23
"""Scores that are worked on at once: 32 MiB, and twice that where they are mixed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Some queries, the papers that answer them, and the scores of all papers.

    `ids` are the n papers' by row, `relevant` has for each of the q queries the gains (above 0) of the rows that answer
    it. `cosine` and `bm25` are (q, n) float32, None where an entry has none. A paper that a query must not find, or
    that has no vector, has a cosine of NaN; one without a word of the query, or that must not be found, a BM25 of 0.
    `known_items`: each query was made of the paper that it must find; then equal scores count against that paper.
    `alike` has, where it is not empty, for each query by the rows that answer it the rows that count as these: the best
    of their scores is the answer's, and they themselves are not there.
    """

    name: str
    ids: Sequence[str]
    queries: tuple[str, ...]
    relevant: tuple[Mapping[int, int], ...]
    cosine: Float32 | None
    bm25: Float32 | None
    known_items: bool = False
    weight: float = HYBRID_WEIGHT
    """Of the cosine in the hybrid: the store's."""
    alike: tuple[Mapping[int, tuple[int, ...]], ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those that there are scores for."""
        has = {Mode.DENSE: self.cosine is not None, Mode.KEYWORD: self.bm25 is not None}
        return tuple(mode for mode in (Mode.DENSE, Mode.KEYWORD, Mode.HYBRID) if has.get(mode, all(has.values())))

    def blocks(self, mode: Mode, weight: float | None = None) -> Iterator[tuple[range, Float32]]:
        """(the queries' positions, the scores of all papers: (b, n) float32), b queries at a time.

        A paper that the search does not answer with has -inf.
        """
        step = max(1, BLOCK // max(1, len(self.ids)))
        for first in range(0, len(self), step):
            some = range(first, min(first + step, len(self)))
            yield some, self._scores(slice(some.start, some.stop), mode, self.weight if weight is None else weight)

    def ranks(self, mode: Mode, weight: float | None = None) -> Rows:
        """Rank, from 1, of the first paper that answers each query: (q,) int64. Papers of an equal score count as
        before it, and so do all others where it is not among the answers."""
        found = np.empty(len(self), np.int64)
        for some, scores in self.blocks(mode, weight):
            for i, row in zip(some, scores, strict=True):
                mine = np.fromiter(self.relevant[i], np.int64)
                best = row[mine].max()
                found[i] = 1 + int((row >= best).sum()) - int((row[mine] >= best).sum())
        return found

    def best_answers(self, mode: Mode) -> list[tuple[int, bool]]:
        """For each query the row that answers it and has the highest score, and whether search answers with it."""
        found = []
        for some, scores in self.blocks(mode):
            for i, row in zip(some, scores, strict=True):
                best = max(self.relevant[i], key=lambda at: (float(row[at]), self.ids[at]))
                found.append((best, bool(np.isfinite(row[best]))))
        return found

    def top(self, mode: Mode, k: int, weight: float | None = None) -> list[tuple[Rows, Float32]]:
        """For each query the rows (up to k,) of the best answers in the order of search, and their scores.

        Of known items a paper that answers stands behind all of an equal score.
        """
        return [
            self._best(i, row, k)
            for some, scores in self.blocks(mode, weight)
            for i, row in zip(some, scores, strict=True)
        ]

    def select(self, positions: Sequence[int] | Rows) -> Scored:
        """Some of the queries."""
        chosen = np.asarray(positions, np.int64)
        return replace(
            self,
            queries=tuple(self.queries[i] for i in chosen),
            relevant=tuple(self.relevant[i] for i in chosen),
            cosine=_take(self.cosine, chosen),
            bm25=_take(self.bm25, chosen),
            alike=tuple(self.alike[i] for i in chosen) if self.alike else (),
        )

    def half(self, which: int) -> Scored:
        """The queries for which the hash of the first paper that answers is even (0) or odd (1)."""
        keys = [sample_key(min(self.ids[row] for row in relevant), 1) for relevant in self.relevant]
        return self.select([i for i, key in enumerate(keys) if key % 2 == which])

    def _scores(self, some: slice, mode: Mode, weight: float) -> Float32:
        scores = self._bare_scores(some, mode, weight)
        for row, alike in zip(scores, self.alike[some], strict=False):  # there are none where nothing counts as another
            best = {right: row[[right, *others]].max() for right, others in alike.items()}
            row[[other for others in alike.values() for other in others]] = -np.inf
            row[list(best)] = list(best.values())
        return scores

    def _bare_scores(self, some: slice, mode: Mode, weight: float) -> Float32:
        """New arrays, of every paper as it is."""
        if mode is Mode.KEYWORD:
            words = _there(self.bm25, mode)[some]
            return np.where(words > 0, words, np.float32(-np.inf))
        cosine = _there(self.cosine, mode)[some]
        if mode is Mode.DENSE:
            return np.where(np.isnan(cosine), np.float32(-np.inf), cosine)
        words = _there(self.bm25, mode)[some]
        scores = np.empty_like(cosine)
        rows = np.arange(len(self.ids))
        for i, (meaning, bm25) in enumerate(zip(cosine, words, strict=True)):
            scores[i] = mixed(rows, meaning, bm25, float(bm25.max(initial=0.0)), weight).scores
        scores[np.isnan(cosine) & (words <= 0)] = -np.inf
        return scores

    def _best(self, i: int, scores: Float32, k: int) -> tuple[Rows, Float32]:
        rows = np.flatnonzero(at_least_kth(scores, k) & ~np.isneginf(scores))
        order = best_first(scores[rows], [self.ids[row] for row in rows.tolist()])
        if self.known_items:
            order.sort(key=lambda at: (-scores[rows[at]], int(rows[at]) in self.relevant[i]))
        rows = rows[order[:k]]
        return rows, scores[rows]


def allocate(n_queries: int, n_papers: int) -> Float32:
    """Room for (n_queries, n_papers) float32 scores, of zeros: in memory, or in a file without a name."""
    if n_queries * n_papers <= IN_MEMORY:
        return np.zeros((n_queries, n_papers), np.float32)
    with tempfile.TemporaryFile() as file:  # is gone when the last array of it is
        return np.memmap(file, np.float32, "w+", shape=(n_queries, n_papers))


def _take(scores: Float32 | None, positions: Rows) -> Float32 | None:
    if scores is None:
        return None
    taken = allocate(len(positions), scores.shape[1])
    for to, position in enumerate(positions):
        taken[to] = scores[position]
    return taken


def _there(scores: Float32 | None, mode: Mode) -> Float32:
    if scores is None:
        raise OptionError(f"expected a mode that there are scores for, found {mode.value}")
    return scores
