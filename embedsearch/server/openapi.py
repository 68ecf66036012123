"""The OpenAPI document: what FastAPI makes of the routes, with the bounds, the errors and the keys as they are here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from embedsearch._version import __version__
from embedsearch.server.answers import Problem
from embedsearch.server.bounds import show
from embedsearch.store.info import space_dim

DESCRIPTION = """Papers by meaning and by words, from one index.

Errors are problem documents (RFC 9457) that say what was expected and what was found; `code` names the error.
Every answer has `X-Request-ID`; what an index answered has its generation in `X-Index-Generation`.
"""

TAGS = [
    {"name": "search", "description": "Papers that answer a query"},
    {"name": "papers", "description": "One paper, and those like it"},
    {"name": "embeddings", "description": "The index's model, in the shape of OpenAI's API"},
    {"name": "service", "description": "What is served, and how it fares"},
]


def describe(app: FastAPI) -> None:
    """Have `app.openapi()` give the document. It is made anew for another length of vectors, and for keys."""
    made: dict[tuple[int | None, bool], dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        engine, options = app.state.engine, app.state.options
        dim = space_dim(engine.searcher.generation) if engine.ready else None
        needs_key = app.state.keys.required and not options.public_read
        if (dim, needs_key) not in made:
            made.clear()
            made[dim, needs_key] = _document(app, dim, needs_key)
        return made[dim, needs_key]

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change the document


def _document(app: FastAPI, dim: int | None, needs_key: bool) -> dict[str, Any]:
    document = get_openapi(
        title="embedsearch", version=__version__, description=DESCRIPTION, tags=TAGS, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schema.pop("$defs")
    schemas["Problem"] = schema
    show(document, app.state.options.limits)
    if dim is not None:
        _typed(schemas["SearchBody"], "vector", "array").update(minItems=dim, maxItems=dim)
        _typed(schemas["EmbeddingsBody"], "dimensions", "integer").update(minimum=dim, maximum=dim)
    if not needs_key:
        for path, methods in document["paths"].items():
            for operation in methods.values():
                if path != "/v1/reload":
                    operation.pop("security", None)
    return document


def _typed(schema: dict[str, Any], field: str, kind: str) -> dict[str, Any]:
    """The part of a field's schema for values of one type."""
    found: dict[str, Any] = next(one for one in schema["properties"][field]["anyOf"] if one["type"] == kind)
    return found
