"""What goes wrong in a route becomes a problem document here; what nobody foresaw, in edge.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from embedsearch.errors import EmbedsearchError
from embedsearch.server.problems import problem, problem_of

SHOWN = 5
"""Errors of one request that are told."""

OPENAI_PATHS = ("/v1/embeddings", "/v1/models")
"""Where OpenAI's clients ask."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def handle_failures(app: FastAPI) -> None:
    """Have all errors of an application leave it as problem documents."""
    app.add_exception_handler(EmbedsearchError, _foreseen)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _foreseen(request: Request, error: Exception) -> Response:
    assert isinstance(error, EmbedsearchError)
    return problem_of(error, hidden=request.app.state.options.index, **_about(request))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = places(error.errors())[:SHOWN]
    detail = "; ".join(f"expected {one['expected']} at {one['at']}, found {one['found']}" for one in found)
    return problem(422, detail, code="OptionError", errors=found, **_about(request))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers, detail = dict(error.headers or {}), str(error.detail)
    if error.status_code == 405:
        allowed = _allowed(request)
        headers["Allow"] = ", ".join(allowed)
        detail = f"expected one of {', '.join(allowed)} for {request.url.path[:200]}, found {request.method[:20]}"
    elif error.status_code == 404:
        detail = f"expected a path that GET /openapi.json describes, found {request.url.path[:200]}"
    return problem(error.status_code, detail, code="QueryError", headers=headers, **_about(request))


def _allowed(request: Request) -> list[str]:
    """The methods that some route takes for this path."""
    return [
        method
        for method in METHODS
        if any(
            route.matches(dict(request.scope) | {"method": "GET" if method == "HEAD" else method})[0] is Match.FULL
            for route in request.app.router.routes
        )
    ]


def places(errors: Sequence[Any]) -> list[dict[str, str]]:
    """pydantic's errors as where something is wrong, what was expected there and what was found.

    Of the types that a value may have all but the right one complain: they are heard only if nobody else does.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for error in errors:
        found.setdefault(_at(error["loc"]), []).append(error)
    told = []
    outer = {at[:dot] for at in found for dot, c in enumerate(at) if c == "."}
    for at, here in found.items():
        better = [error for error in here if not error["type"].endswith("_type")]
        if better or at not in outer:
            said = dict.fromkeys(_expected(error) for error in better or here)
            told.append({"at": at, "expected": " or ".join(said), "found": _found(here[0])})
    return told


EXPECTED = {
    "missing": "a value",
    "string_type": "a text",
    "list_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_short": "a text that is not empty",
    "string_too_long": "a text of at most {max_length:,} characters",
    "string_pattern_mismatch": "words",
    "too_short": "a list of at least {min_length:,}",
    "too_long": "a list of at most {max_length:,}",
}
"""By the type of pydantic's error; any other says it itself."""


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] in EXPECTED:
        return EXPECTED[error["type"]].format(**error.get("ctx") or {})
    text = str(error["msg"]).removeprefix("Input should be ").removeprefix("expected ")
    return text[:1].lower() + text[1:]


def _found(error: Mapping[str, Any]) -> str:
    context: Mapping[str, Any] = error.get("ctx") or {}
    return "none" if error["type"] == "missing" else str(context.get("found") or _shown(error.get("input")))


def _at(location: Sequence[Any]) -> str:
    """body.k; what pydantic adds of the type that was tried is left out."""
    tried = ("list[", "constrained-", "function-")
    return ".".join(str(part) for part in location if part != "str" and not str(part).startswith(tried))


def _shown(value: object) -> str:
    """As much of a value as an error needs to show."""
    if isinstance(value, list | tuple | dict):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}... ({len(text):,} characters)"


def _about(request: Request) -> dict[str, Any]:
    """What a document says of the request itself; the edge has given it an id."""
    path: str = request.scope["path"]
    return {"request_id": request.scope["state"].get("request_id"), "for_openai": path in OPENAI_PATHS}
