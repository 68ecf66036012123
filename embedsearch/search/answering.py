"""Questions answered from one state of a store: encode, search, read the papers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from embedsearch.encoders import Encoded, Role
from embedsearch.errors import QueryError
from embedsearch.keywords import KeywordQuery
from embedsearch.records import SearchResult
from embedsearch.scores import Float32, Mask, Rows, unit_rows
from embedsearch.search import ranking
from embedsearch.search.asking import Ask
from embedsearch.search.encoding import StoreEncoder
from embedsearch.search.hits import make_result
from embedsearch.search.modes import Combine, Mode
from embedsearch.search.scored import Scored
from embedsearch.search.several import Chosen, near_any
from embedsearch.search.view import StoreView

Observe = Callable[[str, float], None]
"""Called with the name of a stage of a query and the seconds that it took."""

NO_WORDS = KeywordQuery.parse("")


@dataclass(frozen=True, slots=True)
class Answering:
    """One state of a store, with what embeds its queries. Thread-safe."""

    view: StoreView
    encoder: StoreEncoder
    observe: Observe | None

    def search(self, queries: list[str], mode: Mode, ask: Ask, given: Mapping[str, Float32]) -> list[SearchResult]:
        """A result for each of `queries`, which are cleaned. `given`: see Searcher.search."""
        vectors = self._vectors(self.to_encode(queries, mode), given)
        mask = self.view.mask(ask.filters)
        return [self._search_one(query, mode, ask, mask, vectors.get(query)) for query in queries]

    def to_encode(self, queries: list[str], mode: Mode) -> list[str]:
        """Those of `queries` that need a vector; none while no paper has one."""
        if self._mode_of_texts(mode) is Mode.KEYWORD or not self.view.vectors.n_rows:
            return []
        return [query for query in dict.fromkeys(queries) if self.view.named(query, warn=False) is None]

    def similar(self, id: str, ask: Ask) -> SearchResult:
        """See Searcher.similar_to: papers like one."""
        row = self.view.row_of(id)
        mask = self._all_but(np.array([row]), ask)
        with self._timed("search"):
            scored = ranking.dense(self.view, self.view.vector_of(row, id), ask.n_wanted, mask)
        return self._result(id, Mode.DENSE, scored, ask)

    def similar_to_several(self, ids: Sequence[str], combine: Combine, ask: Ask) -> SearchResult:
        """See Searcher.similar_to: papers like several."""
        with self._timed("search"):
            chosen = Chosen.of(self.view, ids)
            mask = self._all_but(chosen.rows, ask)
            if combine is Combine.MEAN:
                scored = ranking.dense(self.view, chosen.mean(), ask.n_wanted, mask)
            else:
                scored = near_any(self.view, chosen.vectors, ask.n_wanted, mask)
        return self._result(chosen.named, Mode.DENSE, scored, ask, chosen=chosen)

    def _all_but(self, rows: Rows, ask: Ask) -> Mask:
        """Which rows may answer, without `rows`."""
        mask = self.view.mask(ask.filters)
        mask = self.view.everything() if mask is None else mask
        mask[rows] = False
        return mask

    def nearest(self, vector: Float32, ask: Ask) -> SearchResult:
        """See Searcher.search_vector."""
        dim = self.view.vectors.dim
        if vector.shape != (dim,) or vector.dtype.kind not in "iuf":
            raise QueryError(f"expected a vector of {dim} numbers, found {vector.dtype} {vector.shape}")
        if not np.isfinite(vector).all() or not vector.any():
            raise QueryError("expected a vector of finite numbers that is not zero, found NaN, infinity or zero")
        with self._timed("search"):
            wide = vector.astype(np.float64)
            _, exponent = np.frexp(np.abs(wide).max())  # the squares of 1e200 and 1e-200 are none of float64
            unit = unit_rows(np.ldexp(wide, -exponent)[None])[0]
            scored = ranking.dense(self.view, unit, ask.n_wanted, self.view.mask(ask.filters))
        return self._result("", Mode.DENSE, scored, ask)

    def embed(self, texts: Sequence[str], role: Role) -> Encoded:
        """See Searcher.embed."""
        encoded = self.encoder.of(self.view.generation).encode_counted(texts, role=role)
        return replace(encoded, vectors=self.view.into_space(encoded.vectors))

    def _search_one(self, query: str, mode: Mode, ask: Ask, mask: Mask | None, vector: Float32 | None) -> SearchResult:
        view, words = self.view, KeywordQuery.parse(query)
        row = view.named(query)
        with self._timed("search"):
            if row is not None:
                used, first = mode, [row]
                scored = ranking.and_alike(view, row, ask.n_wanted, mask, mode)
            else:
                used, allowed = self._mode_of_texts(mode), view.quoted(words, mask)
                first = view.titled(query, allowed)
                scored = ranking.by(view, used, vector, words, ask.n_wanted, allowed)
                scored = ranking.including(view, first, scored, used, vector, words)
        return self._result(query, used, scored, ask, words, first=first)

    def _mode_of_texts(self, mode: Mode) -> Mode:
        """What a query that names no paper is answered by: words alone where there is nothing to embed it with."""
        if mode is not Mode.HYBRID or self.encoder.is_known(self.view.generation):
            return mode
        self.encoder.warn_of_none(self.view.generation)
        return Mode.KEYWORD

    def _vectors(self, texts: list[str], given: Mapping[str, Float32]) -> dict[str, Float32]:
        """Vectors of `texts` in the store's space."""
        if not texts:
            return {}
        made = dict(given)
        if missing := [text for text in texts if text not in given]:
            with self._timed("encode"):
                vectors = self.encoder.of(self.view.generation).encode(missing, role=Role.QUERY)
            made |= zip(missing, vectors, strict=True)
        dim = self.view.generation.dim
        for text in texts:
            if made[text].shape != (dim,):
                raise QueryError(f"expected vectors of {dim} numbers, found one of shape {made[text].shape}")
        raw = np.array([made[text] for text in texts], np.float32)
        return dict(zip(texts, self.view.into_space(raw), strict=True))

    def _result(
        self,
        query: str,
        mode: Mode,
        scored: Scored,
        ask: Ask,
        words: KeywordQuery = NO_WORDS,
        *,
        first: Collection[int] = (),
        chosen: Chosen | None = None,
    ) -> SearchResult:
        with self._timed("catalogue"):
            return make_result(self.view, query, mode, scored, ask, words, first=first, chosen=chosen)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.observe is not None:
            self.observe(stage, time.perf_counter() - start)
