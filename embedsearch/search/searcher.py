"""The Searcher: queries in, papers out, in one order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from enum import Enum
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from embedsearch.encoders import Compute, Encoder, ModelSpec, Role
from embedsearch.errors import OptionError, QueryError, StoreCorrupt
from embedsearch.keywords import KeywordQuery, clean
from embedsearch.records import Hit, Paper, SearchResult
from embedsearch.scores import Float32, best_first, unit_rows
from embedsearch.search.encoding import check_recipe, encoder_of, why_none
from embedsearch.search.modes import Mode, Sort
from embedsearch.search.view import Scored, StoreView
from embedsearch.sentences import best_sentence
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import Generation, read_manifest

log = logging.getLogger("embedsearch")

T = TypeVar("T")


class Searcher:
    """Searches a store. Thread-safe: share one among threads.

    It answers from the state that it opened; `refresh` moves to a newer one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        encoder: Encoder | None = None,
        model: ModelSpec | str | None = None,
        compute: Compute | None = None,
    ) -> None:
        """See `open`."""
        self.folder = folder
        self._compute = compute or Compute()
        self._encoder = encoder
        self._model = ModelSpec(name=model) if isinstance(model, str) else model
        self._has_warned = False
        self._encoder_lock = threading.Lock()
        self._view = StoreView(folder, read_manifest(folder))
        if encoder is not None:
            check_recipe(self._view.generation, encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: Encoder | None = None,
        model: ModelSpec | str | None = None,
        compute: Compute | None = None,
    ) -> Searcher:
        """Open the store at `path`. The model is loaded at the first query that needs it, unless `encoder` is given.

        A store knows its model, unless its vectors came from a file that does not say: then `model` names what made
        them. Raises StoreNotFound, StoreCorrupt, StoreTooNew, or RecipeMismatch if `encoder` did not make its vectors.
        """
        return cls(Path(path), encoder=encoder, model=model, compute=compute)

    @property
    def generation(self) -> Generation:
        """What is searched: counts, recipe, files; `complete` says whether all papers have vectors."""
        return self._view.generation

    def refresh(self) -> bool:
        """Look at the store again; True if there was something newer, which is searched from now on."""
        manifest = read_manifest(self.folder)
        if manifest.checksum == self._view.manifest.checksum:
            return False
        self._view = StoreView(self.folder, manifest)
        return True

    @overload
    def search(
        self,
        query: str,
        *,
        k: int = 10,
        mode: Mode | str = Mode.HYBRID,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
    ) -> SearchResult: ...
    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = Mode.HYBRID,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
    ) -> list[SearchResult]: ...
    def search(
        self,
        query: str | list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = Mode.HYBRID,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
    ) -> SearchResult | list[SearchResult]:
        """The k papers that answer each query best, fewer where fewer are allowed.

        What a query has in quotation marks a paper must have; in keyword mode it must match.

        A query that is an arXiv id, its address or a DOI gives that paper and then those like it; one that is the whole
        title of a paper gives that paper first. Of equal scores the smaller id comes first.

        Raises QueryError for an empty query, OptionError for an argument outside of what is possible.
        """
        texts = [query] if isinstance(query, str) else list(query)
        mode, sort = _member(Mode, mode), _member(Sort, sort)
        _check(k)
        results = self._retry(lambda view: self._search(view, texts, k, mode, filters, sort))
        return results[0] if isinstance(query, str) else results

    def similar_to(
        self, id: str, *, k: int = 10, filters: Filters | None = None, sort: Sort | str = Sort.SCORE
    ) -> SearchResult:
        """The k papers whose vectors are nearest to that of the paper `id`, without itself.

        Raises PaperNotFound; QueryError if the paper has no vector yet.
        """
        _check(k)

        def similar(view: StoreView) -> SearchResult:
            row = view.row_of(id)
            mask = view.mask(filters)
            mask = np.ones(view.n_papers, bool) if mask is None else mask.copy()
            mask[row] = False
            scored = view.dense(view.vector_of(row, id), k, mask)
            return self._result(view, id, Mode.DENSE, scored, k, _member(Sort, sort), KeywordQuery.parse(""))

        return self._retry(similar)

    def search_vector(
        self, vector: Float32, *, k: int = 10, filters: Filters | None = None, sort: Sort | str = Sort.SCORE
    ) -> SearchResult:
        """The k papers nearest to `vector`, (dim,) in the store's space (as `Space.vectors` has them), any length.

        Raises QueryError for another shape, zero, or numbers that are not finite.
        """
        _check(k)
        given = np.asarray(vector)

        def nearest(view: StoreView) -> SearchResult:
            if given.shape != (view.vectors.dim,) or not np.issubdtype(given.dtype, np.number):
                raise QueryError(f"expected a vector of {view.vectors.dim} numbers, found {given.dtype} {given.shape}")
            if not np.isfinite(given).all() or not given.any():
                raise QueryError("expected a vector of finite numbers that is not zero, found NaN, infinity or zero")
            scored = view.dense(unit_rows(given[None].astype(np.float64))[0], k, view.mask(filters))
            return self._result(view, "", Mode.DENSE, scored, k, _member(Sort, sort), KeywordQuery.parse(""))

        return self._retry(nearest)

    def paper(self, id: str) -> Paper:
        """The paper of this id, in any of its forms. Raises PaperNotFound."""

        return self._retry(lambda view: view.catalogue.papers(np.array([view.row_of(id)]))[0].paper)

    @property
    def encoder(self) -> Encoder:
        """The encoder of the store's recipe, opened when first asked for. Raises ModelNotFound or RecipeMismatch."""
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = encoder_of(self._view.generation, model=self._model, compute=self._compute)
            return self._encoder

    @property
    def has_encoder(self) -> bool:
        """Whether a query can be embedded: the store knows its model, or one was named."""
        return self._encoder is not None or self._model is not None or self.generation.has_encoder

    def _retry(self, answer: Callable[[StoreView], T]) -> T:
        """A writer may remove what an older generation needs: then look again, once."""
        try:
            return answer(self._view)
        except StoreCorrupt:
            if not self.refresh():
                raise
            return answer(self._view)

    def _search(
        self, view: StoreView, texts: list[str], k: int, mode: Mode, filters: Filters | None, sort: Sort
    ) -> list[SearchResult]:
        queries = [clean(text) for text in texts]
        for number, (text, query) in enumerate(zip(texts, queries, strict=True), 1):
            if not query:
                which = f", the {number}. of {len(texts)}" if len(texts) > 1 else ""
                raise QueryError(f"expected words to search for, found an empty query{which}")
            if len(query) < len(text.strip()):
                log.warning("a query of %s characters was cut or cleaned to %s", f"{len(text):,}", f"{len(query):,}")
        mask = view.mask(filters)
        named = {query: view.named(query) for query in queries}
        by_text = self._mode_of_texts(mode)
        vectors = self._encode(view, [q for q in queries if named[q] is None]) if by_text is not Mode.KEYWORD else {}
        results = []
        for query in queries:
            words, row = KeywordQuery.parse(query), named[query]
            if row is not None:
                used, first = mode, [row]
                scored = view.and_alike(row, k, mask, mode)
            else:
                used = by_text
                vector, allowed = vectors.get(query), view.quoted(words, mask)
                first = view.titled(query, allowed)
                scored = view.including(first, view.by(used, vector, words, k, allowed), used, vector, words)
            results.append(self._result(view, query, used, scored, k, sort, words, first=first))
        return results

    def _mode_of_texts(self, mode: Mode) -> Mode:
        """What a query that names no paper is answered by: words alone where there is nothing to embed it with."""
        if mode is not Mode.HYBRID or self.has_encoder:
            return mode
        if not self._has_warned:
            self._has_warned = True
            log.warning("searching by words alone: %s", why_none(self.generation))
        return Mode.KEYWORD

    def _encode(self, view: StoreView, queries: list[str]) -> dict[str, Float32]:
        """Vectors of the queries in the store's space, each once; none while no paper has a vector."""
        distinct = list(dict.fromkeys(queries))
        if not distinct or not view.vectors.n_rows:
            return {}
        return dict(zip(distinct, view.into_space(self.encoder.encode(distinct, role=Role.QUERY)), strict=True))

    def _result(
        self,
        view: StoreView,
        query: str,
        mode: Mode,
        scored: Scored,
        k: int,
        sort: Sort,
        words: KeywordQuery,
        *,
        first: Collection[int] = (),
    ) -> SearchResult:
        ids = view.catalogue.ids(scored.rows)
        order = best_first(scored.scores, ids)
        order.sort(key=lambda i: scored.rows[i] not in first)  # stable: only the papers that were asked for move
        order = order[:k]
        stored = view.catalogue.papers(scored.rows[order])
        if sort is Sort.DATE:
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
        return SearchResult(query=query, mode=mode.value, hits=tuple(hits))


def _check(k: int) -> None:
    if not isinstance(k, int) or k < 1:
        raise OptionError(f"expected k of at least 1, found {k!r}")


E = TypeVar("E", bound=Enum)


def _member(kind: type[E], value: E | str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise OptionError(f"expected a {kind.__name__.lower()} of {known}, found {value!r}") from None
