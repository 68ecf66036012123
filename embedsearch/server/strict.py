"""Requests as they must be before they are looked at: UTF-8, known parameters, JSON as RFC 8259 has it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from embedsearch.errors import OptionError
from embedsearch.server.auth import admin, bearer, reader


class StrictRequest(Request):
    """A request whose body is standard JSON, or refused."""

    async def json(self) -> Any:
        """The body's value. Raises HTTPException 400 for what is no JSON, or JSON that readers read differently."""
        body = await self.body()
        try:
            return _parse(body)
        except RecursionError:
            raise HTTPException(400, "expected JSON that a person could write, found it nested too deeply") from None
        except UnicodeError:
            raise HTTPException(400, "expected a body in UTF-8 without lone surrogates, found other bytes") from None
        except ValueError as error:
            raise HTTPException(400, f"expected a body of JSON, found an error in it: {error}") from None


class StrictRoute(APIRoute):
    """A route for StrictRequest, in UTF-8; a body must say that it is JSON.

    Whoever may not ask is told so before anything is read: FastAPI reads the body before it looks at dependencies.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, behind the checks."""
        answer = super().get_route_handler()
        guards = [guard for guard in (reader, admin) if any(one.dependency is guard for one in self.dependencies)]

        async def checked(request: Request) -> Response:
            for guard in guards:
                await guard(request, await bearer(request))
            check_url(request)
            if self.body_field is not None:
                check_media_type(request)
            return await answer(StrictRequest(request.scope, request.receive))

        return checked


class Parameters:
    """A dependency that refuses query parameters that `model` does not have, and repeated ones that are no lists."""

    def __init__(self, model: type[BaseModel] | None = None) -> None:
        self._known = list(model.model_fields) if model else []
        fields = model.model_fields.items() if model else ()
        self._many = {name for name, field in fields if "list" in str(field.annotation)}

    async def __call__(self, request: Request) -> None:
        """Raises OptionError. Asynchronous, since FastAPI calls any other in a thread."""
        given = [name for name, _ in request.query_params.multi_items()]
        known = ", ".join(self._known) or "none"
        for name in given:
            if name not in self._known:
                raise OptionError(f"expected query parameters among {known}, found {name[:100]!r}")
            if name not in self._many and given.count(name) > 1:
                raise OptionError(f"expected {name} once, found it {given.count(name)} times")


def check_url(request: Request) -> None:
    """Raise HTTPException 400 for a path or a query that is not UTF-8 when it is decoded."""
    for name, raw in (("path", request.scope.get("raw_path") or b""), ("query", request.scope["query_string"])):
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise HTTPException(400, f"expected a {name} in UTF-8, percent-encoded, found other bytes") from None


def check_media_type(request: Request) -> None:
    """Raise HTTPException 415 for a body that does not say that it is JSON."""
    stated = request.headers.get("content-type", "")
    if stated.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"expected Content-Type: application/json, found {stated[:100]!r}")


def _parse(body: bytes) -> Any:
    value = json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_repetition)
    if b"\\u" in body:
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be encoded
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {twice[:100]!r} stands in it more than once")
    return value
