"""The Searcher: queries in, papers out, in one order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from embedsearch.encoders import Compute, Encoded, Encoder, ModelSpec, Role
from embedsearch.encoders.services import is_service
from embedsearch.errors import BadVector, OptionError, QueryError, StoreCorrupt
from embedsearch.keywords import KeywordQuery, clean
from embedsearch.records import Paper, SearchResult
from embedsearch.scores import Float32, Mask, unit_rows
from embedsearch.search.encoding import check_recipe, encoder_of, why_none
from embedsearch.search.hits import Ask, make_result
from embedsearch.search.modes import Mode, Sort
from embedsearch.search.scored import Scored
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import Generation, Manifest, read_manifest

log = logging.getLogger("embedsearch")

T = TypeVar("T")

WARMING = "star"
"""What is asked when a store is warmed up."""


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
        follows: bool = True,
    ) -> None:
        """See `open`."""
        self.folder = folder
        self._compute = compute or Compute()
        self._observe = observe
        self._follows = follows
        self._is_given = encoder is not None
        self._encoder = encoder
        self._encoder_recipe: Mapping[str, object] | None = None
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
        follows: bool = True,
    ) -> Searcher:
        """Open the store at `path`. The model is loaded at the first query that needs it, unless `encoder` is given.

        A store knows its model, unless its vectors came from a file that does not say: then `model` names what made
        them. `observe(stage, seconds)` is called in the searching thread after each stage of a query: encode, search,
        catalogue. Unless it `follows` the store, it never goes on with a newer state by itself: where a file that it
        needs is gone, it raises StoreCorrupt.

        Raises StoreNotFound, StoreCorrupt, StoreTooNew, or RecipeMismatch if `encoder` did not make its vectors.
        """
        return cls(Path(path), encoder=encoder, model=model, compute=compute, observe=observe, follows=follows)

    @property
    def generation(self) -> Generation:
        """What is searched: counts, recipe, files; `complete` says whether all papers have vectors."""
        return self._view.generation

    @property
    def manifest(self) -> Manifest:
        """The store's manifest as it was when this state was opened."""
        return self._view.manifest

    def refresh(self) -> bool:
        """Look at the store again; True if there was something newer, which is searched from now on.

        Its model is opened when it is needed, if it is another one. Raises RecipeMismatch, and stays with what it has,
        where the encoder was given and did not make the newer vectors.
        """
        manifest = read_manifest(self.folder)
        if manifest.checksum == self._view.manifest.checksum:
            return False
        view = StoreView(self.folder, manifest)
        if self._is_given and self._encoder is not None:
            check_recipe(view.generation, self._encoder)
        self._view = view
        return True

    def warm_up(self) -> None:
        """Open all that queries need, so that the first ones wait for nothing and no file is looked for later.

        The model is loaded, unless it is a service's. Nothing is read that another process could not share. Not for a
        Searcher that is being searched; its stages are not observed.
        """
        view, observe = self._view, self._observe
        self._observe = None
        view.open_all()
        modes, vectors = [Mode.KEYWORD], dict[str, Float32]()
        if self.has_encoder:
            encoder = self._encoder_for(view)
            is_ours = not is_service(self._model or ModelSpec.from_dict(view.generation.model))
            if is_ours and view.vectors.n_rows:
                modes, vectors = list(Mode), {WARMING: encoder.encode([WARMING], role=Role.QUERY)[0]}
        for mode in modes:
            with suppress(BadVector):  # a transform may leave nothing of this very query
                self._search(view, [WARMING], mode, _ask(1, None, Sort.SCORE, 0), vectors)
        self._observe = observe

    def connect(self) -> None:
        """Open what the calling thread needs for itself, so that its first query need not."""
        self._view.catalogue.connect()

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
        given = vectors or {}
        results = self._retry(lambda view: self._search(view, texts, mode, ask, given), only_same_recipe=bool(given))
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
        texts, kind = list(texts), _member(Role, role)

        def embedded(view: StoreView) -> Encoded:
            encoded = self._encoder_for(view).encode_counted(texts, role=kind)
            return replace(encoded, vectors=view.into_space(encoded.vectors))

        return self._retry(embedded)

    def into_space(self, vectors: Float32) -> Float32:
        """What the encoder made, (n, dim) float32 unit rows, as the store has it: its transform applied."""
        return self._view.into_space(vectors)

    @property
    def encoder(self) -> Encoder:
        """The encoder of the store's recipe, opened when first asked for. Raises ModelNotFound or RecipeMismatch."""
        return self._encoder_for(self._view)

    def _encoder_for(self, view: StoreView) -> Encoder:
        """That of `view`, which `refresh` may have left behind meanwhile: its vectors are comparable with no others."""
        with self._encoder_lock:
            is_its = self._is_given or self._encoder_recipe == view.generation.recipe
            if self._encoder is None or not is_its:
                self._encoder = encoder_of(view.generation, model=self._model, compute=self._compute)
                self._encoder_recipe = view.generation.recipe
            return self._encoder

    @property
    def has_encoder(self) -> bool:
        """Whether a query can be embedded: the store knows its model, or one was named."""
        return self._encoder is not None or self._model is not None or self.generation.has_encoder

    def _retry(self, answer: Callable[[StoreView], T], *, only_same_recipe: bool = False) -> T:
        """A writer may remove what an older generation needs: then look again, once."""
        view = self._view
        try:
            return answer(view)
        except StoreCorrupt:
            if not self._follows or not self.refresh():
                raise
            if only_same_recipe and self._view.generation.recipe != view.generation.recipe:
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
        made = dict(zip(missing, self._encode_here(view, missing), strict=True)) if missing else {}
        if not texts:
            return {}
        raw = np.array([given[text] if text in given else made[text] for text in texts], np.float32)
        return dict(zip(texts, view.into_space(raw), strict=True))

    def _encode_here(self, view: StoreView, texts: list[str]) -> Float32:
        with self._timed("encode"):
            return self._encoder_for(view).encode(texts, role=Role.QUERY)

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
