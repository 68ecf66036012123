"""The request of each method of the clients, and how its answer is read. Sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import numpy as np

from embedsearch.client import answers
from embedsearch.corpus import normal_id
from embedsearch.errors import OptionError, QueryError
from embedsearch.records import Paper, SearchResult
from embedsearch.scores import Float32

if TYPE_CHECKING:
    from embedsearch.encoders import Role
    from embedsearch.search import Combine, Mode, Sort
    from embedsearch.store.filters import Filters

T = TypeVar("T")

MOST_TEXTS = 64
"""Texts of one request: a list of more becomes several, so that none is past what a server takes."""
MOST_BYTES = 400_000
"""Of the texts of one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request. Each asks, none changes anything, so that each can be sent again."""

    method: str
    path: str
    """Percent-encoded, below the server's address."""
    body: bytes | None = None
    """JSON."""
    read: Callable[[bytes], T]
    """The result of the JSON of a good answer. Raises ValueError or msgspec.DecodeError for any other shape."""

    def result(self, got: httpx.Response | httpx.HTTPError, *, where: str) -> T:
        """What came of it, sent to the address `where`. Raises the error that it is, ServerError if none of ours."""
        content = answers.good_content(got, where=where)
        try:
            return self.read(content)
        except (msgspec.DecodeError, ValueError) as error:
            raise answers.not_ours(got, error, where=where) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What every search can be given: see Searcher.search."""

    k: int
    filters: Filters | None
    sort: Sort | str
    n_counted: int

    def as_dict(self) -> dict[str, Any]:
        """As the body of a request has it. Raises OptionError for what is not a number."""
        for name, value in (("k", self.k), ("n_counted", self.n_counted)):
            if not isinstance(value, int):
                raise OptionError(f"expected {name} to be a whole number, found {value!r}")
        f = self.filters
        filters = {"category": f.categories, "since": f.since, "until": f.until, "author": f.authors} if f else {}
        counted = {"facets": self.n_counted} if self.n_counted else {}
        some = {name: value for name, value in filters.items() if value}
        return {"k": self.k, "sort": _value(self.sort), "full": True, **some, **counted}


def search(query: str, wanted: Wanted, *, mode: Mode | str) -> Call[SearchResult]:
    """One query. Raises QueryError for one without words."""
    return _search({"query": _queries([query])[0], "mode": _value(mode)}, wanted, read=answers.result)


def searches(queries: Sequence[str], wanted: Wanted, *, mode: Mode | str) -> list[Call[list[SearchResult]]]:
    """Many queries, in as many requests as it takes. Raises QueryError for one without words."""
    return [
        _search({"query": batch, "mode": _value(mode)}, wanted, read=answers.results_of(len(batch)))
        for batch in _batches(_queries(queries))
    ]


def similar_to(ids: str | Sequence[str], wanted: Wanted, *, combine: Combine | str) -> Call[SearchResult]:
    """Papers like one, or like several. Raises QueryError for none."""
    like = _sendable(ids) if isinstance(ids, str) else [_sendable(id) for id in ids]
    if like == []:
        raise QueryError("expected the ids of one or more papers, found none")
    return _search({"like": like, "combine": _value(combine)}, wanted, read=answers.result)


def search_vector(vector: Float32, wanted: Wanted) -> Call[SearchResult]:
    """Papers near a vector. Raises QueryError for what is none, and for zero."""
    given = np.asarray(vector)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.number) or np.iscomplexobj(given):
        raise QueryError(f"expected a vector of numbers, found {given.dtype} {given.shape}")
    if not np.isfinite(given).all() or not given.any():
        raise QueryError("expected a vector of finite numbers that is not zero, found NaN, infinity or zero")
    return _search({"vector": given.astype(np.float64).tolist()}, wanted, read=answers.result)


def paper(id: str) -> Call[Paper]:
    """A paper as its corpus has it."""
    segments = quote(_sendable(normal_id(id).id), safe="/").split("/")
    # A segment of dots alone would be taken for a way up
    path = "/".join(part if part.strip(".") else part.replace(".", "%2E") for part in segments)
    return Call(method="GET", path=f"/v1/papers/{path}?full=true", read=answers.paper)


def embed(texts: Sequence[str], *, role: Role | str) -> list[Call[answers.Embedded]]:
    """Vectors of many texts, in as many requests as it takes."""
    asked = {"encoding_format": "base64", "role": _value(role)}
    return [
        Call(
            method="POST",
            path="/v1/embeddings",
            body=msgspec.json.encode({"input": batch, **asked}),
            read=answers.embedded_of(len(batch)),
        )
        for batch in _batches(texts)
    ]


def info() -> Call[dict[str, Any]]:
    """What is served."""
    return Call(method="GET", path="/v1/info", read=answers.info)


def _search(asked: dict[str, Any], wanted: Wanted, *, read: Callable[[bytes], T]) -> Call[T]:
    return Call(method="POST", path="/v1/search", body=msgspec.json.encode({**asked, **wanted.as_dict()}), read=read)


def _queries(texts: Sequence[str]) -> list[str]:
    """Refused here where they say nothing: a server may call that by another name than the Searcher does."""
    queries = [_sendable(text) for text in texts]
    for number, query in enumerate(queries, 1):
        if not any(c.isprintable() and c != " " for c in query):
            which = f", the {number}. of {len(queries)}" if len(queries) > 1 else ""
            raise QueryError(f"expected words to search for, found an empty query{which}")
    return queries


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in map(_sendable, texts):
        n_bytes = len(text.encode())
        if batch and (len(batch) == MOST_TEXTS or size + n_bytes > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += n_bytes
    if batch:
        yield batch


def _sendable(text: str) -> str:
    """Without lone surrogates, which UTF-8 cannot hold and the Searcher leaves out."""
    if not isinstance(text, str):
        raise OptionError(f"expected a text, found {text!r}")
    return text.encode("utf-8", "ignore").decode()


def _value(member: Enum | str) -> Any:
    """A member as the wire has it; what is none is the server's to refuse."""
    return member.value if isinstance(member, Enum) else member
