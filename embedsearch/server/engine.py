"""Answers for one store, off the event loop: admission, time limit, one encoder pass for all that wait, swap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from embedsearch.encoders import Encoded, Encoder, Role
from embedsearch.errors import Overloaded
from embedsearch.records import SearchResult
from embedsearch.scores import Float32
from embedsearch.search import Mode, Searcher, Sort
from embedsearch.server.options import ServeOptions
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.store.info import StoreInfo, store_info

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What was asked for, and the generation of the index that answered."""

    value: T
    generation: int


class Engine:
    """Answers for the store of `options.index`. All methods are for the event loop that `start` ran in.

    Each raises Overloaded when too many wait or no store is open, TookTooLong past the time limit, and what the
    Searcher raises. What is past its limits is the caller's to refuse.
    """

    def __init__(self, options: ServeOptions, *, encoder: Encoder | None = None) -> None:
        """`encoder` stands in for the store's own (tests)."""
        self.options = options
        self._given_encoder = encoder
        self._searcher: Searcher | None = None
        self._pool = ThreadPoolExecutor(2)

    async def start(self) -> None:
        """Open the store and warm it up; raises what Searcher.open raises."""
        opened = Searcher.open(self.options.index, encoder=self._given_encoder, compute=self.options.compute)
        self._searcher = opened

    async def stop(self) -> None:
        """Finish what is under way, and stop all threads."""
        self._pool.shutdown(wait=True)

    @property
    def ready(self) -> bool:
        """Whether a store is open and warm."""
        return self._searcher is not None

    @property
    def searcher(self) -> Searcher:
        """That of the generation that answers now. Raises Overloaded where none is open."""
        if self._searcher is None:
            raise Overloaded("expected an open index, found none yet: try again in a moment", retry_after=2)
        return self._searcher

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
        return await self._run(
            lambda s: s.search(list(texts), k=k, mode=mode, filters=filters, sort=sort, n_counted=n_counted)
        )

    async def similar_to(
        self,
        id: str,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = Sort.SCORE,
        n_counted: int = 0,
    ) -> Answer[SearchResult]:
        """See Searcher.similar_to."""
        return await self._run(lambda s: s.similar_to(id, k=k, filters=filters, sort=sort, n_counted=n_counted))

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
        return await self._run(lambda s: s.search_vector(vector, k=k, filters=filters, sort=sort, n_counted=n_counted))

    async def paper(self, id: str) -> Answer[StoredPaper]:
        """The paper of this id in any of its forms, as the corpus and as people read it."""
        return await self._run(lambda s: s.stored(id))

    async def embed(self, texts: Sequence[str], *, role: Role) -> Answer[Encoded]:
        """Vectors of texts in the store's space (its transform applied), and their tokens."""
        return await self._run(lambda s: s.embed(list(texts), role=role))

    async def info(self) -> Answer[StoreInfo]:
        """What is being served."""
        return await self._run(lambda s: store_info(s.folder))

    async def reload(self) -> Answer[bool]:
        """Look at the index now; whether there was something newer, which answers from now on."""
        return await self._run(lambda s: s.refresh())

    async def _run(self, work: Callable[[Searcher], T]) -> Answer[T]:
        searcher = self.searcher
        value = await asyncio.get_running_loop().run_in_executor(self._pool, work, searcher)
        return Answer(value=value, generation=searcher.generation.number)
