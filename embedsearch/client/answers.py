"""What a server's answers mean: results, vectors, errors, and when to ask again. Sends nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch import errors
from embedsearch._version import __version__
from embedsearch.errors import EmbedsearchError, NotAllowed, Overloaded, ServerError, TookTooLong
from embedsearch.records import Facets, Hit, Paper, SearchResult

RETRIES = 2
"""How often a request is sent again where the server was not there, went away, or said when to come back."""
FIRST_PAUSE = 0.2
"""Seconds before a request is first sent again to a server that is not there; twice as many the second time."""
LONGEST_PAUSE = 5.0
"""Seconds: a server that wants to be left alone for longer is an error at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Vectors of some texts: (n, dim) float32 rows of unit length in the order of the texts, and their tokens in all.

    (0, 0) where there was no text.
    """

    vectors: NDArray[np.float32]
    total_tokens: int


class _Count(msgspec.Struct):
    name: str
    n: int


class _Facets(msgspec.Struct):
    n_counted: int
    categories: list[_Count]
    years: list[_Count]


class _Result(msgspec.Struct):
    query: str
    mode: str
    hits: list[Hit]
    facets: _Facets | None = None


class _FullPaper(msgspec.Struct):
    paper: Paper


class _Embedding(msgspec.Struct):
    index: int
    embedding: str


class _Usage(msgspec.Struct):
    total_tokens: int


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]
    usage: _Usage


class _Problem(msgspec.Struct):
    detail: str
    code: str
    request_id: str | None = None


def result(content: bytes) -> SearchResult:
    """Of one query."""
    return _result(msgspec.json.decode(content, type=_Result))


def results_of(n: int) -> Callable[[bytes], list[SearchResult]]:
    """Of n queries."""

    def read(content: bytes) -> list[SearchResult]:
        found = [_result(one) for one in msgspec.json.decode(content, type=list[_Result])]
        if len(found) != n:
            raise ValueError(f"{len(found)} results for {n} queries")
        return found

    return read


def paper(content: bytes) -> Paper:
    """A paper as its corpus has it."""
    return msgspec.json.decode(content, type=_FullPaper).paper


def info(content: bytes) -> dict[str, Any]:
    """An object of whatever the server says of itself."""
    return msgspec.json.decode(content, type=dict[str, Any])


def embedded_of(n: int) -> Callable[[bytes], Embedded]:
    """Vectors of n texts."""

    def read(content: bytes) -> Embedded:
        found = msgspec.json.decode(content, type=_Embeddings)
        if [one.index for one in found.data] != list(range(n)):
            raise ValueError(f"{len(found.data)} vectors, or in another order, for {n} texts")
        rows = [np.frombuffer(base64.b64decode(one.embedding, validate=True), "<f4") for one in found.data]
        return Embedded(vectors=np.stack(rows).astype(np.float32), total_tokens=found.usage.total_tokens)

    return read


def joined(parts: Sequence[Embedded]) -> Embedded:
    """The vectors of several requests as those of one."""
    vectors = [part.vectors for part in parts] or [np.empty((0, 0), np.float32)]
    return Embedded(vectors=np.concatenate(vectors), total_tokens=sum(part.total_tokens for part in parts))


def pause_before_retry(got: httpx.Response | httpx.HTTPError, *, n_sent: int) -> float | None:
    """Seconds to wait until a request that was sent n times, last with `got`, is sent again; None: it is not."""
    if n_sent > RETRIES:
        return None
    if isinstance(got, httpx.NetworkError | httpx.RemoteProtocolError):  # it went away, maybe to come back as a new one
        return FIRST_PAUSE * 2.0 ** (n_sent - 1)
    if isinstance(got, httpx.Response) and got.status_code == 503:
        seconds = _retry_after(got)
        return seconds if seconds is not None and seconds <= LONGEST_PAUSE else None
    return None


def generation_of(got: httpx.Response | httpx.HTTPError) -> int | None:
    """The generation of the index that answered, None where none did."""
    text = got.headers.get("X-Index-Generation", "") if isinstance(got, httpx.Response) else ""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def good_content(got: httpx.Response | httpx.HTTPError, *, where: str) -> bytes:
    """The body of a good answer from the address `where`. Raises what any other one means."""
    if isinstance(got, httpx.TimeoutException):
        raise TookTooLong(
            f"expected an answer from {where} in time, found none: ask for less, or give the client a longer timeout"
        ) from got
    if isinstance(got, httpx.HTTPError):
        raise ServerError(
            f"expected a server at {where}, found {str(got) or type(got).__name__}: is `embedsearch serve` running"
            " there?"
        ) from got
    if not got.is_success:
        raise _error(got, where)
    return got.content


def not_ours(got: httpx.Response | httpx.HTTPError, why: Exception | str, *, where: str) -> ServerError:
    """The error of an answer that is no answer of ours."""
    kind = "nothing"
    if isinstance(got, httpx.Response):
        kind = f"HTTP {got.status_code} {got.headers.get('content-type', 'without a type')}"
    return ServerError(
        f"expected an answer of `embedsearch serve` {__version__} from {where}, found {kind} ({why}): check the"
        " address, and that client and server are of one version"
    )


def _error(got: httpx.Response, where: str) -> EmbedsearchError:
    """The error that a problem document describes, of the same class as the server's."""
    if got.is_redirect:
        return not_ours(got, f"a redirect to {got.headers.get('location')}, which is not followed", where=where)
    try:
        problem = msgspec.json.decode(got.content, type=_Problem)
    except msgspec.DecodeError:
        return not_ours(got, "no problem document", where=where)
    kind = getattr(errors, problem.code, None)
    if not (isinstance(kind, type) and issubclass(kind, EmbedsearchError)):
        return ServerError(f"{problem.detail} (HTTP {got.status_code} of {where}, request {problem.request_id})")
    if kind is Overloaded:
        return Overloaded(problem.detail, retry_after=int(_retry_after(got) or 1))
    if kind is NotAllowed:
        return NotAllowed(problem.detail, status=got.status_code)
    return kind(problem.detail)


def _retry_after(got: httpx.Response) -> float | None:
    """Seconds; None where the server gives none, or a date."""
    text = got.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() and len(text) < 9 else None


def _result(found: _Result) -> SearchResult:
    hits = tuple(replace(hit, score=_float32(hit.score), cosine=_float32(hit.cosine)) for hit in found.hits)
    return SearchResult(query=found.query, mode=found.mode, hits=hits, facets=_facets(found.facets))


def _facets(found: _Facets | None) -> Facets | None:
    if found is None:
        return None
    categories, years = (tuple((one.name, one.n) for one in counts) for counts in (found.categories, found.years))
    return Facets(n_counted=found.n_counted, categories=categories, years=years)


def _float32(number: Any) -> Any:
    """The float32 that nine digits tell from all others, as the Searcher gives it."""
    return None if number is None else float(np.float32(number))
