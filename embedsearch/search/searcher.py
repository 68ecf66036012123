"""The Searcher: queries in, papers out, in one order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from embedsearch.encoders import Compute, Encoded, Encoder, ModelSpec, Role
from embedsearch.errors import OptionError, QueryError, StoreCorrupt
from embedsearch.keywords import KeywordQuery, clean
from embedsearch.records import Paper, SearchResult
from embedsearch.scores import Float32, Mask, unit_rows
from embedsearch.search.encoding import check_recipe, encoder_of, why_none
from embedsearch.search.hits import Ask, make_result
from embedsearch.search.modes import Mode, Sort
from embedsearch.search.view import Scored, StoreView
from embedsearch.store.catalogue import StoredPaper
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
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        """See `open`."""
        self.folder = folder
        self._compute = compute or Compute()
        self._observe = observe
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
        observe: Callable[[str, float], None] | None = None,
    ) -> Searcher:
        """Open the store at `path`. The model is loaded at the first query that needs it, unless `encoder` is given.

        A store knows its model, unless its vectors came from a file that does not say: then `model` names what made
        them. `observe(stage, seconds)` is called in the searching thread after each stage of a query: encode, search,
        catalogue.

        Raises StoreNotFound, StoreCorrupt, StoreTooNew, or RecipeMismatch if `encoder` did not make its vectors.
        """
        return cls(Path(path), encoder=encoder, model=model, compute=compute, observe=observe)

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
        n_counted: int = 0,
        vectors: Mapping[str, Float32] | None = None,
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
        n_counted: int = 0,
        vectors: Mapping[str, Float32] | None = None,
    ) -> list[SearchResult]: ...
    def search(
        self,
        query: str | list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = Mode.HYBRID,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
        vectors: Mapping[str, Float32] | None = None,
    ) -> SearchResult | list[SearchResult]:
        """The k papers that answer each query best, fewer where fewer are allowed.

        What a query has in quotation marks a paper must have; in keyword mode it must match.

        A query that is an arXiv id, its address or a DOI gives that paper and then those like it; one that is the whole
        title of a paper gives that paper first. Of equal scores the smaller id comes first.

        With `n_counted`, categories and years of the best so many are counted (`SearchResult.facets`). `vectors` has
        what the store's encoder made of some of the texts of `to_encode`, (dim,) each, so that a caller can embed the
        queries of many at once; the others are embedded here.

        Raises QueryError for an empty query, OptionError for an argument outside of what is possible.
        """
        texts = [query] if isinstance(query, str) else list(query)
        mode, ask = _member(Mode, mode), _ask(k, filters, sort, n_counted)
        results = self._retry(lambda view: self._search(view, texts, mode, ask, vectors or {}))
        return results[0] if isinstance(query, str) else results

    def to_encode(self, texts: Sequence[str], *, mode: Mode | str = Mode.HYBRID) -> list[str]:
        """What `search` asks the encoder for to answer `texts`: each once, cleaned; none where no vector is needed.

        Raises QueryError for an empty query.
        """
        return self._retry(lambda view: self._to_encode(view, _cleaned(texts), _member(Mode, mode)))

    def similar_to(
        self,
        id: str,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> SearchResult:
        """The k papers whose vectors are nearest to that of the paper `id`, without itself.

        Raises PaperNotFound; QueryError if the paper has no vector yet.
        """
        ask = _ask(k, filters, sort, n_counted)

        def similar(view: StoreView) -> SearchResult:
            row = view.row_of(id)
            mask = view.mask(filters)
            mask = np.ones(view.n_papers, bool) if mask is None else mask.copy()
            mask[row] = False
            with self._timed("search"):
                scored = view.dense(view.vector_of(row, id), ask.n_wanted, mask)
            return self._result(view, id, Mode.DENSE, scored, ask, KeywordQuery.parse(""))

        return self._retry(similar)

    def search_vector(
        self,
        vector: Float32,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> SearchResult:
        """The k papers nearest to `vector`, (dim,) in the store's space (as `Space.vectors` has them), any length.

        Raises QueryError for another shape, zero, or numbers that are not finite.
        """
        ask = _ask(k, filters, sort, n_counted)
        given = np.asarray(vector)

        def nearest(view: StoreView) -> SearchResult:
            if given.shape != (view.vectors.dim,) or not np.issubdtype(given.dtype, np.number):
                raise QueryError(f"expected a vector of {view.vectors.dim} numbers, found {given.dtype} {given.shape}")
            if not np.isfinite(given).all() or not given.any():
                raise QueryError("expected a vector of finite numbers that is not zero, found NaN, infinity or zero")
            with self._timed("search"):
                unit = unit_rows(given[None].astype(np.float64))[0]
                scored = view.dense(unit, ask.n_wanted, view.mask(filters))
            return self._result(view, "", Mode.DENSE, scored, ask, KeywordQuery.parse(""))

        return self._retry(nearest)

    def paper(self, id: str) -> Paper:
        """The paper of this id, in any of its forms. Raises PaperNotFound."""
        return self.stored(id).paper

    def stored(self, id: str) -> StoredPaper:
        """The paper of this id with the texts that people read. Raises PaperNotFound."""
        return self._retry(lambda view: view.catalogue.papers(np.array([view.row_of(id)]))[0])

    def embed(self, texts: Sequence[str], *, role: Role | str = Role.QUERY) -> Encoded:
        """Vectors of any texts in the store's space, as `search_vector` takes them, and what they took.

        Raises ModelNotFound where the store does not know its model; BadVector for a text without any token.
        """
        encoded = self.encoder.encode_counted(list(texts), role=_member(Role, role))
        return self._retry(lambda view: replace(encoded, vectors=view.into_space(encoded.vectors)))

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
        self, view: StoreView, texts: list[str], mode: Mode, ask: Ask, given: Mapping[str, Float32]
    ) -> list[SearchResult]:
        queries = _cleaned(texts)
        vectors = self._encode(view, self._to_encode(view, queries, mode), given)
        mask = view.mask(ask.filters)
        return [self._answer(view, query, mode, ask, mask, vectors.get(query)) for query in queries]

    def _answer(
        self, view: StoreView, query: str, mode: Mode, ask: Ask, mask: Mask | None, vector: Float32 | None
    ) -> SearchResult:
        words, row = KeywordQuery.parse(query), view.named(query)
        with self._timed("search"):
            if row is not None:
                used, first = mode, [row]
                scored = view.and_alike(row, ask.n_wanted, mask, mode)
            else:
                used, allowed = self._mode_of_texts(mode), view.quoted(words, mask)
                first = view.titled(query, allowed)
                scored = view.by(used, vector, words, ask.n_wanted, allowed)
                scored = view.including(first, scored, used, vector, words)
        return self._result(view, query, used, scored, ask, words, first=first)

    def _to_encode(self, view: StoreView, queries: list[str], mode: Mode) -> list[str]:
        """None while no paper has a vector."""
        if self._mode_of_texts(mode) is Mode.KEYWORD or not view.vectors.n_rows:
            return []
        return [query for query in dict.fromkeys(queries) if view.named(query, warn=False) is None]

    def _mode_of_texts(self, mode: Mode) -> Mode:
        """What a query that names no paper is answered by: words alone where there is nothing to embed it with."""
        if mode is not Mode.HYBRID or self.has_encoder:
            return mode
        if not self._has_warned:
            self._has_warned = True
            log.warning("searching by words alone: %s", why_none(self.generation))
        return Mode.KEYWORD

    def _encode(self, view: StoreView, texts: list[str], given: Mapping[str, Float32]) -> dict[str, Float32]:
        """Vectors of `texts` in the store's space."""
        missing = [text for text in texts if text not in given]
        made = dict(zip(missing, self._encode_here(missing), strict=True)) if missing else {}
        if not texts:
            return {}
        raw = np.array([given[text] if text in given else made[text] for text in texts], np.float32)
        return dict(zip(texts, view.into_space(raw), strict=True))

    def _encode_here(self, texts: list[str]) -> Float32:
        with self._timed("encode"):
            return self.encoder.encode(texts, role=Role.QUERY)

    def _result(
        self,
        view: StoreView,
        query: str,
        mode: Mode,
        scored: Scored,
        ask: Ask,
        words: KeywordQuery,
        *,
        first: Collection[int] = (),
    ) -> SearchResult:
        with self._timed("catalogue"):
            return make_result(view, query, mode, scored, ask, words, first=first)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._observe is not None:
            self._observe(stage, time.perf_counter() - start)


def _cleaned(texts: Sequence[str]) -> list[str]:
    queries = [clean(text) for text in texts]
    for number, (text, query) in enumerate(zip(texts, queries, strict=True), 1):
        if not query:
            which = f", the {number}. of {len(texts)}" if len(texts) > 1 else ""
            raise QueryError(f"expected words to search for, found an empty query{which}")
        if len(query) < len(text.strip()):
            log.warning("a query of %s characters was cut or cleaned to %s", f"{len(text):,}", f"{len(query):,}")
    return queries


def _ask(k: int, filters: Filters | None, sort: Sort | str, n_counted: int) -> Ask:
    _check(k)
    return Ask(k=k, filters=filters, sort=_member(Sort, sort), n_counted=n_counted)


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
