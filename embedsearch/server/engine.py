"""Answers for one store, off the event loop: admission, time limit, one encoder pass for all that wait, swap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from embedsearch.encoders import Encoded, Encoder, Role
from embedsearch.errors import Overloaded, PaperNotFound, StoreCorrupt, TookTooLong
from embedsearch.records import SearchResult
from embedsearch.scores import Float32
from embedsearch.search import Combine, Mode, Searcher, Sort
from embedsearch.search.searcher import OpenView
from embedsearch.search.view import StoreView
from embedsearch.server import metrics
from embedsearch.server.batching import QueryBatcher, Waited
from embedsearch.server.options import ServeOptions
from embedsearch.server.swap import Served, Swapper
from embedsearch.server.threads import SEARCH_THREADS, SearchThreads, stopping
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.store.info import StoreInfo, info_of

T = TypeVar("T")

TEXTS_AT_ONCE = 8
"""Texts of one request that are searched for before others have their turn."""
PAPERS_AT_ONCE = 64
"""Papers of one request that are read before others have their turn."""
CHARS_IN_THE_LOOP = 2000
"""Texts up to so long are cleaned in the event loop, in microseconds; longer ones in a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What was asked for, and the generation of the index that answered."""

    value: T
    generation: int


@dataclass(slots=True)
class _Ticket:
    """What a request has waited for so far: the encoder, and a thread to search in; seconds."""

    queued: float = 0.0

    def waited(self, seconds: float) -> None:
        self.queued += seconds

    def embedded(self, waited: Waited) -> None:
        self.queued += waited.queue
        metrics.stage("encode", waited.encode)


class Engine:
    """Answers for the store of `options.index`. All methods are for the event loop that `start` ran in.

    Each raises Overloaded when too many wait or no store is open, TookTooLong past the time limit, and what the
    Searcher raises. What is past its limits is the caller's to refuse.
    """

    def __init__(
        self,
        options: ServeOptions,
        *,
        encoder: Encoder | None = None,
        open_view: OpenView = StoreView.open,
        search_threads: int = SEARCH_THREADS,
    ) -> None:
        """`encoder` stands in for the store's own (tests); `open_view`: see Searcher.open."""
        self.options = options
        self._threads = SearchThreads(search_threads)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._swapper = Swapper(
            options,
            encoder=encoder,
            encode_thread=self._encoding,
            prepare=self._threads.connect,
            open_view=open_view,
        )
        self._watching: asyncio.Task[None] | None = None
        self._n_waiting = 0
        self._stopping = False

    async def start(self) -> None:
        """Open the store and warm it up; raises what Searcher.open and loading its model raise."""
        await self._swapper.reload()
        self._threads.start()
        self._watching = asyncio.create_task(self._swapper.watch())

    async def stop(self) -> None:
        """Stop all threads: what runs in one is finished, what waits is dropped. Whoever calls this has drained."""
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
        self._encoding.shutdown(wait=False, cancel_futures=True)  # at once, so that no other pass begins
        await self._threads.close()
        await asyncio.to_thread(self._encoding.shutdown)
        await self._swapper.close()

    @property
    def ready(self) -> bool:
        """Whether a store is open and warm."""
        return self._swapper.current is not None and not self._stopping

    @property
    def searcher(self) -> Searcher:
        """That of the generation that answers now. Raises Overloaded where none is open."""
        return self._served.searcher

    @property
    def _served(self) -> Served:
        if self._swapper.current is None:
            raise Overloaded("expected an open index, found none yet: try again in a moment", retry_after=2)
        return self._swapper.current

    async def search(
        self,
        texts: Sequence[str],
        *,
        k: int = 10,
        mode: Mode | str = Mode.HYBRID,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> Answer[list[SearchResult]]:
        """See Searcher.search: one result for each text."""
        asked = list(texts)

        async def work(served: Served, ticket: _Ticket) -> list[SearchResult]:
            vectors = await self._vectors(served, asked, mode, ticket)

            def search(part: list[str]) -> list[SearchResult]:
                return served.searcher.search(
                    part, k=k, mode=mode, filters=filters, sort=sort, n_counted=n_counted, vectors=vectors
                )

            parts = [asked[first : first + TEXTS_AT_ONCE] for first in range(0, len(asked), TEXTS_AT_ONCE)]
            made = [await self._threads.run(partial(search, part), waited=ticket.waited) for part in parts]
            return [result for results in made for result in results]

        return await self._run(work)

    async def similar_to(
        self,
        ids: str | Sequence[str],
        *,
        combine: Combine | str = Combine.NEAREST,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> Answer[SearchResult]:
        """See Searcher.similar_to."""
        return await self._search(
            lambda s: s.similar_to(ids, combine=combine, k=k, filters=filters, sort=sort, n_counted=n_counted)
        )

    async def search_vector(
        self,
        vector: Float32,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> Answer[SearchResult]:
        """See Searcher.search_vector."""
        return await self._search(
            lambda s: s.search_vector(vector, k=k, filters=filters, sort=sort, n_counted=n_counted)
        )

    async def paper(self, id: str) -> Answer[StoredPaper]:
        """The paper of this id in any of its forms, as the corpus and as people read it."""
        return await self._search(lambda s: s.stored(id))

    async def papers(self, ids: Sequence[str]) -> Answer[list[StoredPaper | None]]:
        """The papers of these ids, in their order; None for one that is not there, or no longer."""

        def read(part: Sequence[str], searcher: Searcher) -> list[StoredPaper | None]:
            return [_stored(searcher, id) for id in part]

        async def work(served: Served, ticket: _Ticket) -> list[StoredPaper | None]:
            parts = [ids[first : first + PAPERS_AT_ONCE] for first in range(0, len(ids), PAPERS_AT_ONCE)]
            run = partial(self._threads.run, waited=ticket.waited)
            found = [await run(partial(read, part, served.searcher)) for part in parts]
            return [paper for papers in found for paper in papers]

        return await self._run(work)

    async def embed(self, texts: Sequence[str], *, role: Role) -> Answer[Encoded]:
        """Vectors of texts in the store's space (its transform applied), and their tokens."""

        async def work(served: Served, ticket: _Ticket) -> Encoded:
            encoded, waited = await self._batcher(served).documents(texts, role=role)
            ticket.embedded(waited)
            into = partial(served.searcher.into_space, encoded.vectors)
            return replace(encoded, vectors=await self._threads.run(into, waited=ticket.waited))

        return await self._run(work)

    async def info(self) -> Answer[StoreInfo]:
        """What is being served."""
        value = info_of(self.options.index, self.searcher.manifest)
        return Answer(value=value, generation=value.generation)

    async def reload(self) -> Answer[bool]:
        """Look at the index now; whether there was something newer, which answers from now on.

        Raises what opening it raises; what answered before goes on then.
        """
        return Answer(value=await self._swapper.reload(), generation=self._served.generation)

    async def _search(self, search: Callable[[Searcher], T]) -> Answer[T]:
        """One call in a thread, without an encoder."""
        return await self._run(
            lambda served, ticket: self._threads.run(partial(search, served.searcher), waited=ticket.waited)
        )

    async def _run(self, work: Callable[[Served, _Ticket], Awaitable[T]]) -> Answer[T]:
        """Admit, bound in time; where files of its state are gone, all of it once more on the next one."""
        with self._admitted() as ticket:
            served, seconds = self._served, self.options.limits.seconds
            limit = asyncio.timeout(seconds)
            try:
                async with limit:
                    try:
                        value = await work(served, ticket)
                    except StoreCorrupt:
                        if (newer := await self._swapper.instead_of(served)) is None:
                            raise
                        value = await work(served := newer, ticket)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise TookTooLong(f"expected an answer within {seconds:g} s, found none: ask for less") from None
            return Answer(value=value, generation=served.generation)

    @contextmanager
    def _admitted(self) -> Iterator[_Ticket]:
        most = self.options.limits.queue
        if self._stopping:
            raise stopping()
        if self._n_waiting >= most:
            raise Overloaded(f"expected at most {most} requests at once, found as many already: try again in a moment")
        ticket = _Ticket()
        self._n_waiting += 1
        metrics.waiting(self._n_waiting)
        try:
            yield ticket
        finally:
            self._n_waiting -= 1
            metrics.waiting(self._n_waiting)
            metrics.stage("queue", ticket.queued)

    async def _vectors(
        self, served: Served, texts: Sequence[str], mode: Mode | str, ticket: _Ticket
    ) -> Mapping[str, Float32]:
        """Those of the queries that need one."""
        which = partial(served.searcher.to_encode, texts, mode=mode)
        is_short = sum(map(len, texts)) <= CHARS_IN_THE_LOOP
        to_encode = which() if is_short else await self._threads.run(which, waited=ticket.waited)
        if not to_encode:
            return {}
        vectors, waited = await self._batcher(served).queries(to_encode)
        ticket.embedded(waited)
        return vectors

    def _batcher(self, served: Served) -> QueryBatcher:
        if served.batcher is None:
            _ = served.searcher.encoder  # says why there is none
        assert served.batcher is not None
        return served.batcher


def _stored(searcher: Searcher, id: str) -> StoredPaper | None:
    try:
        return searcher.stored(id)
    except PaperNotFound:
        return None
