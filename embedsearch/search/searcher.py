"""The Searcher: queries in, papers out, in one order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, Unpack, overload

import numpy as np

from embedsearch.encoders import Compute, Encoded, Encoder, ModelSpec, Role
from embedsearch.errors import BadVector, StoreCorrupt
from embedsearch.records import Paper, SearchResult
from embedsearch.scores import Float32
from embedsearch.search.answering import Answering, Observe
from embedsearch.search.asking import Ask, SearchOptions, cleaned, member
from embedsearch.search.encoding import StoreEncoder
from embedsearch.search.library import Library, find_library
from embedsearch.search.modes import Combine, Mode, Sort
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import Manifest, read_manifest

T = TypeVar("T")

OpenView = Callable[[Path], StoreView]
"""Opens the state that a store has now."""

WARMING = "star"
"""What is asked when a store is warmed up."""


class Searcher:
    """Searches a store. Thread-safe: share one among threads.

    It answers from the state of the store that it opened. It goes on with a newer one when `refresh` is called, or,
    unless it was opened with `follows=False`, when a writer has removed files that the old state needs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        encoder: Encoder | None = None,
        model: ModelSpec | str | None = None,
        compute: Compute | None = None,
        observe: Observe | None = None,
        follows: bool = True,
        open_view: OpenView = StoreView.open,
    ) -> None:
        """See `open`."""
        self.folder = folder
        self._observe = observe
        self._follows = follows
        spec = ModelSpec(name=model) if isinstance(model, str) else model
        self._encoder = StoreEncoder(encoder, model=spec, compute=compute or Compute())
        self._refreshing = threading.Lock()
        self._open_view = open_view
        self._view = open_view(folder)
        self._encoder.check(self.generation)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: Encoder | None = None,
        model: ModelSpec | str | None = None,
        compute: Compute | None = None,
        observe: Observe | None = None,
        follows: bool = True,
        open_view: OpenView = StoreView.open,
    ) -> Searcher:
        """Open the store at `path`. The model is loaded at the first query that needs it, unless `encoder` is given.

        A store knows its model, unless its vectors came from a file that does not say: then `model` names what made
        them. `observe(stage, seconds)` is called in the searching thread after each stage of a query: encode, search,
        catalogue. With `follows=False` only `refresh` goes on with a newer state: a query that needs a file which is
        gone raises StoreCorrupt. `open_view` opens a state in another way: see parts.py.

        Raises StoreNotFound, StoreCorrupt, StoreTooNew, or RecipeMismatch if `encoder` did not make its vectors.
        """
        return cls(
            Path(path),
            encoder=encoder,
            model=model,
            compute=compute,
            observe=observe,
            follows=follows,
            open_view=open_view,
        )

    @property
    def generation(self) -> Generation:
        """What is searched: counts, recipe, files; `complete` says whether all papers have vectors."""
        return self._view.generation

    @property
    def manifest(self) -> Manifest:
        """The store's manifest as it was when this state was opened."""
        return self._view.manifest

    def refresh(self) -> bool:
        """Look at the store again; True if it has changed, or another lies there: that is searched from now on.

        A store of another model has its own opened when a query needs it. Raises what `open` raises, and goes on with
        what it has: so where `encoder` was given and did not make the newer vectors.
        """
        with self._refreshing:
            view = self._view
            found = read_manifest(self.folder, check_files=False)  # opening looks at them
            if found.checksum == view.manifest.checksum and view.catalogue.is_there():
                return False
            newer = self._open_view(self.folder)
            self._encoder.check(newer.generation)
            self._view = newer
            return True

    def warm_up(self) -> None:
        """Open all that queries need, so that the first ones wait for nothing and no file is looked for later.

        The model is loaded, unless it is a service's. Nothing is read that another process could not share. The stages
        of this are not observed.
        """
        view = self._view
        view.open_all()
        answering = Answering(view, self._encoder, None)
        modes, vectors = [Mode.KEYWORD], dict[str, Float32]()
        if self.has_encoder:
            encoder = self._encoder.of(view.generation)
            if view.vectors.n_rows and not self._encoder.is_service(view.generation):
                modes, vectors = list(Mode), {WARMING: encoder.encode([WARMING], role=Role.QUERY)[0]}
        for mode in modes:
            with suppress(BadVector):  # a transform may leave nothing of this very query
                answering.search([WARMING], mode, Ask.read(k=1, filters=None, sort=Sort.SCORE, n_counted=0), vectors)

    def connect(self) -> None:
        """Open what the calling thread needs for itself, so that its first query need not."""
        self._view.catalogue.connect()

    @overload
    def search(self, query: str, **options: Unpack[SearchOptions]) -> SearchResult: ...
    @overload
    def search(self, query: list[str] | tuple[str, ...], **options: Unpack[SearchOptions]) -> list[SearchResult]: ...
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

        With `n_counted`, categories and years of the best so many are counted (`SearchResult.facets`).

        `vectors` is for callers who embed the queries of many at once: it has what `encoder.encode` made of texts of
        `to_encode`, (dim,) each, before the store's transform; texts that it lacks are embedded here. The three calls
        must go to one state of the store: no `refresh` may come between, and this one does not go on to a newer state.

        Raises QueryError for an empty query, OptionError for an argument outside of what is possible.
        """
        ask = Ask.read(k=k, filters=filters, sort=sort, n_counted=n_counted)
        how, texts = member(Mode, mode), cleaned([query] if isinstance(query, str) else list(query))
        results = self._answer(lambda a: a.search(texts, how, ask, vectors or {}), may_move=not vectors)
        return results[0] if isinstance(query, str) else results

    def to_encode(self, texts: Sequence[str], *, mode: Mode | str = Mode.HYBRID) -> list[str]:
        """What `search` asks the encoder for to answer `texts`: each once, cleaned; none where no vector is needed.

        Raises QueryError for an empty query.
        """
        how, queries = member(Mode, mode), cleaned(texts)
        return self._answer(lambda a: a.to_encode(queries, how))

    def similar_to(
        self,
        ids: str | Sequence[str],
        *,
        combine: Combine | str = Combine.NEAREST,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> SearchResult:
        """The k papers that are nearest to one paper, or to several, without these.

        Of several, each counts once, and papers are scored by the nearest of them or by their mean: see Combine. Those
        that have no vector yet count for nothing; `Hit.like` says which of them a hit is nearest to.

        Raises PaperNotFound; QueryError if no paper was named, or none of them has a vector yet.
        """
        ask, how = Ask.read(k=k, filters=filters, sort=sort, n_counted=n_counted), member(Combine, combine)
        if isinstance(ids, str):
            return self._answer(lambda a: a.similar(ids, ask))
        named = list(ids)
        return self._answer(lambda a: a.similar_to_several(named, how, ask))

    def library(self, asked: Sequence[str]) -> Library:
        """Papers of mine that are here, for `similar_to`: see find_library. Raises PaperNotFound, CorpusError."""
        named = [asked] if isinstance(asked, str) else list(asked)
        return self._answer(lambda a: find_library(a.view, named))

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
        ask, given = Ask.read(k=k, filters=filters, sort=sort, n_counted=n_counted), np.asarray(vector)
        return self._answer(lambda a: a.nearest(given, ask))

    def paper(self, id: str) -> Paper:
        """The paper of this id, in any of its forms. Raises PaperNotFound."""
        return self.stored(id).paper

    def stored(self, id: str) -> StoredPaper:
        """The paper of this id with the texts that people read. Raises PaperNotFound."""
        return self._answer(lambda a: a.view.catalogue.papers(np.array([a.view.row_of(id)]))[0])

    def embed(self, texts: Sequence[str], *, role: Role | str = Role.QUERY) -> Encoded:
        """Vectors of any texts in the store's space, as `search_vector` takes them, and what they took.

        One text means that one, and gives (1, dim). Raises ModelNotFound where the store does not know its model;
        BadVector for a text without any token.
        """
        asked, kind = [texts] if isinstance(texts, str) else list(texts), member(Role, role)
        return self._answer(lambda a: a.embed(asked, kind))

    def into_space(self, vectors: Float32) -> Float32:
        """What the encoder made, (n, dim) float32 unit rows, as the store has it: its transform applied."""
        return self._view.into_space(vectors)

    @property
    def encoder(self) -> Encoder:
        """The encoder of the store's recipe, opened when first asked for. Raises ModelNotFound or RecipeMismatch."""
        return self._encoder.of(self.generation)

    @property
    def has_encoder(self) -> bool:
        """Whether a query can be embedded: the store knows its model, or one was named."""
        return self._encoder.is_known(self.generation)

    def _answer(self, ask: Callable[[Answering], T], *, may_move: bool = True) -> T:
        """A writer may remove what an older state needs: then ask a newer one, once."""
        view = self._view
        try:
            return ask(Answering(view, self._encoder, self._observe))
        except StoreCorrupt:
            if not (self._follows and may_move):
                raise
            self.refresh()
            if self._view is view:
                raise
            return ask(Answering(self._view, self._encoder, self._observe))
