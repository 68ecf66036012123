"""What all routes share: where the engine is, how an answer is encoded, which errors are documented."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response

from embedsearch.records import SearchResult
from embedsearch.render.results import result_dict
from embedsearch.server.engine import Answer, Engine
from embedsearch.server.options import Limits
from embedsearch.server.problems import MEDIA_TYPE

MANY = 4000
"""Numbers or hits from which on encoding them would hold up the event loop."""

REASONS = {
    400: "No HTTP, UTF-8 or JSON that can be read",
    401: "No key, or an unknown one",
    403: "A key that may not do this",
    404: "No such paper, model or page",
    408: "The request took too long to arrive",
    409: "The index cannot answer this: it has no vectors yet, or does not know its model",
    413: "A body over the limit",
    415: "A body that does not say that it is JSON",
    421: "A Host that is none of the server's names",
    422: "A value outside of what is possible, or over a limit",
    431: "A line or headers over the limit",
    500: "A bug",
    503: "Too many wait, or no index is open: try again after Retry-After seconds",
    504: "The answer was not ready in time",
}

_PROBLEM: dict[str, Any] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ID: dict[str, Any] = {
    "X-Request-ID": {"description": "Of this request, as the log has it", "schema": {"type": "string"}}
}
_GENERATION: dict[str, Any] = {
    "X-Index-Generation": {"description": "Of the index that answered", "schema": {"type": "integer"}}
}
_MORE: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "In seconds", "schema": {"type": "integer"}}},
}


def documented(*statuses: int, found: bool = True) -> dict[int | str, dict[str, Any]]:
    """The answers of a route for its document: 200, with the index's generation if `found`, and problems."""
    problems: dict[int | str, dict[str, Any]] = {
        status: {
            "description": REASONS[status],
            "content": _PROBLEM,
            "headers": _ID | _MORE.get(status, {}),
        }
        for status in statuses
    }
    return {200: {"description": "Done", "headers": _ID | (_GENERATION if found else {})}, **problems}


ALWAYS = (400, 408, 421, 422, 431, 500, 503)
"""What any route may answer instead."""

READING = (*ALWAYS, 401, 403, 413, 504)
"""What any route under /v1 may answer instead."""


def engine_of(request: Request) -> Engine:
    """What answers."""
    engine: Engine = request.app.state.engine
    return engine


def limits_of(request: Request) -> Limits:
    """The configured bounds."""
    limits: Limits = request.app.state.options.limits
    return limits


async def encoded(value: Any, answer: Answer[Any], *, size: int = 0) -> Response:
    """`value` as JSON, with the generation of `answer`; in a thread where it has `size` numbers or more."""
    content = await _off_loop(lambda: msgspec.json.encode(value), size)
    return _response(content, answer.generation)


async def encoded_results(answer: Answer[Any], *, full: bool) -> Response:
    """A SearchResult, or a list of them, as the command line's JSON has it."""

    def encode() -> bytes:
        value: SearchResult | Sequence[SearchResult] = answer.value
        if isinstance(value, SearchResult):
            return msgspec.json.encode(result_dict(value, full=full))
        return msgspec.json.encode([result_dict(result, full=full) for result in value])

    results = [answer.value] if isinstance(answer.value, SearchResult) else answer.value
    return _response(await _off_loop(encode, 20 * sum(len(result.hits) for result in results)), answer.generation)


async def _off_loop(encode: Callable[[], bytes], size: int) -> bytes:
    return encode() if size < MANY else await asyncio.to_thread(encode)


def _response(content: bytes, generation: int) -> Response:
    return Response(content, media_type="application/json", headers={"X-Index-Generation": str(generation)})
