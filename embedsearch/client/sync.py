"""The client for ordinary code."""

from __future__ import annotations

import time
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


class Client:
    """Asks a server as a Searcher asks a folder: the same methods, results and errors. Thread-safe: share one.

    Lists of texts go in several requests where they are long. A server that is not there, that goes away without an
    answer, or that says when to come back (503 with Retry-After), is asked twice more. Beside the Searcher's errors
    each method raises NotAllowed, Overloaded, TookTooLong, and ServerError for a server that is not there or that is
    none of ours.
    """

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`key` is sent to the server; None: that of EMBEDSEARCH_API_KEY, if it is set. `timeout` in seconds, of each
        step of a request. `transport` is httpx's, for tests and special ways. Nothing is sent yet.

        Raises OptionError for an address, key or timeout that is none.
        """
        self._http = httpx.Client(transport=transport, **http_options(url, key=key, timeout=timeout))
        self.url = shown(url)
        """As messages name it: without a password."""
        self._generation: int | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @property
    def generation(self) -> int | None:
        """The generation of the index that answered last, None before the first answer."""
        return self._generation

    @overload
    def search(
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
    def search(
        self,
        query: list[str] | tuple[str, ...],
        *,
        k: int = 10,
        mode: Mode | str = "hybrid",
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> list[SearchResult]: ...
    def search(
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
            return self._ask(calls.search(query, wanted, mode=mode))
        asked = calls.searches(query, wanted, mode=mode)
        return [result for call in asked for result in self._ask(call)]

    def similar_to(
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
        return self._ask(calls.similar_to(ids, wanted, combine=combine))

    def search_vector(
        self,
        vector: Float32,
        *,
        k: int = 10,
        filters: Filters | None = None,
        sort: Sort | str = "score",
        n_counted: int = 0,
    ) -> SearchResult:
        """See Searcher.search_vector: `vector` is (dim,)."""
        return self._ask(calls.search_vector(vector, Wanted(k=k, filters=filters, sort=sort, n_counted=n_counted)))

    def paper(self, id: str) -> Paper:
        """The paper of this id, in any of its forms, as its corpus has it. Raises PaperNotFound."""
        return self._ask(calls.paper(id))

    def embed(self, texts: Sequence[str], *, role: Role | str = "query") -> Embedded:
        """Vectors of any texts in the index's space: `.vectors` is (n, dim) float32, as Searcher.embed gives it."""
        return answers.joined([self._ask(call) for call in calls.embed(texts, role=role)])

    def info(self) -> dict[str, Any]:
        """What the server says of itself: its index, model, version and limits."""
        return self._ask(calls.info())

    def _ask(self, call: Call[T]) -> T:
        got, n_sent = self._send(call), 1
        while (pause := answers.pause_before_retry(got, n_sent=n_sent)) is not None:
            time.sleep(pause)
            got, n_sent = self._send(call), n_sent + 1
        result = call.result(got, where=self.url)
        self._generation = answers.generation_of(got) or self._generation
        return result

    def _send(self, call: Call[T]) -> httpx.Response | httpx.HTTPError:
        try:
            return self._http.request(call.method, call.path, content=call.body)
        except httpx.HTTPError as error:
            return error
