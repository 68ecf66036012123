"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import httpx

from embedsearch.client import answers, calls
from embedsearch.client.address import http_options, shown
from embedsearch.client.answers import Embedded
from embedsearch.client.calls import Call, Wanted
from embedsearch.records import Paper, SearchResult
from embedsearch.scores import Float32

if TYPE_CHECKING:
    from embedsearch.encoders import Role
    from embedsearch.search import Combine, Mode, Sort
    from embedsearch.store.filters import Filters

T = TypeVar("T")


class AsyncClient:
    """A Client whose methods are awaited. Belongs to the event loop that first used it: share one among its tasks."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`key` is sent to the server; None: that of EMBEDSEARCH_API_KEY, if it is set. `timeout` in seconds, of each
        step of a request. `transport` is httpx's, for tests and special ways. Nothing is sent yet.

        Raises OptionError for an address, key or timeout that is none.
        """
        self._http = httpx.AsyncClient(transport=transport, **http_options(url, key=key, timeout=timeout))
        self.url = shown(url)
        """As messages name it: without a password."""
        self._generation: int | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @property
    def generation(self) -> int | None:
        """The generation of the index that answered last, None before the first answer."""
        return self._generation

    @overload
    async def search(
        self,
        query: str,
        *,
        k: int = 10,
        mode: Mode | str = "hybrid",
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> SearchResult: ...
    @overload
    async def search(
        self,
        query: list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = "hybrid",
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> list[SearchResult]: ...
    async def search(
        self,
        query: str | list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = "hybrid",
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> SearchResult | list[SearchResult]:
        """See Searcher.search."""
        wanted = Wanted(k=k, filters=filters, sort=sort, n_counted=n_counted)
        if isinstance(query, str):
            return await self._ask(calls.search(query, wanted, mode=mode))
        asked = calls.searches(query, wanted, mode=mode)
        return [result for call in asked for result in await self._ask(call)]

    async def similar_to(
        self,
        ids: str | Sequence[str],
        *,
        combine: Combine | str = "nearest",
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> SearchResult:
        """See Searcher.similar_to; a server takes some 100 papers."""
        wanted = Wanted(k=k, filters=filters, sort=sort, n_counted=n_counted)
        return await self._ask(calls.similar_to(ids, wanted, combine=combine))

    async def search_vector(
        self,
        vector: Float32,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> SearchResult:
        """See Searcher.search_vector: `vector` is (dim,)."""
        return await self._ask(
            calls.search_vector(vector, Wanted(k=k, filters=filters, sort=sort, n_counted=n_counted))
        )

    async def paper(self, id: str) -> Paper:
        """The paper of this id, in any of its forms, as its corpus has it. Raises PaperNotFound."""
        return await self._ask(calls.paper(id))

    async def embed(self, texts: Sequence[str], *, role: Role | str = "query") -> Embedded:
        """Vectors of any texts in the index's space: `.vectors` is (n, dim) float32, as Searcher.embed gives it."""
        return answers.joined([await self._ask(call) for call in calls.embed(texts, role=role)])

    async def info(self) -> dict[str, Any]:
        """What the server says of itself: its index, model, version and limits."""
        return await self._ask(calls.info())

    async def _ask(self, call: Call[T]) -> T:
        got, n_sent = await self._send(call), 1
        while (pause := answers.pause_before_retry(got, n_sent=n_sent)) is not None:
            await asyncio.sleep(pause)
            got, n_sent = await self._send(call), n_sent + 1
        result = call.result(got, where=self.url)
        self._generation = answers.generation_of(got) or self._generation
        return result

    async def _send(self, call: Call[T]) -> httpx.Response | httpx.HTTPError:
        try:
            return await self._http.request(call.method, call.path, content=call.body)
        except httpx.HTTPError as error:
            return error
