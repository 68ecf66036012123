"""/v1/search: papers by words, by meaning, or like others."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, Query, Request, Response

from embedsearch.errors import QueryError
from embedsearch.scores import Float32
from embedsearch.server.answers import ResultAnswer
from embedsearch.server.api.common import READING, documented, encoded_results, engine_of, limits_of
from embedsearch.server.auth import reader
from embedsearch.server.bounds import check_count, check_hits, check_texts
from embedsearch.server.engine import Answer
from embedsearch.server.options import Limits
from embedsearch.server.schemas import LEAST, SearchBody, SearchParams, SimilarParams
from embedsearch.server.strict import Parameters, StrictRoute
from embedsearch.store.filters import Filters

router = APIRouter(prefix="/v1", tags=["search"], route_class=StrictRoute, dependencies=[Depends(reader)])

EXAMPLES: dict[str, Any] = {
    "text": {"summary": "One text", "value": {"query": "how do planets form around binary stars", "k": 5}},
    "texts": {"summary": "Several texts", "value": {"query": ["magnetized plasma", "dark matter halos"], "k": 3}},
    "filters": {
        "summary": "Newest first, from two fields",
        "value": {"query": "gravitational waves", "category": ["gr-qc", "astro-ph*"], "since": "2010", "sort": "date"},
    },
    "like": {"summary": "Papers like another", "value": {"like": "arXiv:2005.99066", "facets": 100, "full": True}},
    "likes": {
        "summary": "Papers like several",
        "value": {"like": ["2005.99066", "2207.99849"], "combine": "mean", "k": 5},
    },
}


@router.get(
    "/search",
    summary="Find papers",
    operation_id="search",
    response_model=ResultAnswer,
    responses=documented(*READING, 409),
    dependencies=[Depends(Parameters(SearchParams))],
)
async def search(request: Request, params: Annotated[SearchParams, Query()]) -> Response:
    """The papers that answer `q`, best first. What it has in quotation marks a paper must have."""
    check_texts([params.q], limits_of(request))
    asked = asked_of(params, limits_of(request))
    answer = await engine_of(request).search([params.q], mode=params.mode, **asked)
    return await encoded_results(Answer(value=answer.value[0], generation=answer.generation), full=params.full)


@router.post(
    "/search",
    summary="Find papers for several texts, a vector, or other papers",
    operation_id="search_many",
    response_model=ResultAnswer | list[ResultAnswer],
    responses=documented(*READING, 404, 409, 415),
    dependencies=[Depends(Parameters())],
)
async def search_many(request: Request, body: Annotated[SearchBody, Body(openapi_examples=EXAMPLES)]) -> Response:
    """One result for a text, a vector, a paper or several; a list of results, in their order, for a list of texts."""
    limits, engine = limits_of(request), engine_of(request)
    asked = asked_of(body, limits)
    answer: Answer[Any]
    if body.like is not None:
        answer = await engine.similar_to(body.like, combine=body.combine, **asked)
    elif body.vector is not None:
        answer = await engine.search_vector(_vector(body.vector), **asked)
    else:
        texts = [body.query] if isinstance(body.query, str) else body.query or []
        check_texts(texts, limits)
        check_hits(len(texts), asked["k"], limits)
        answer = await engine.search(texts, mode=body.mode, **asked)
        if isinstance(body.query, str):
            answer = Answer(value=answer.value[0], generation=answer.generation)
    return await encoded_results(answer, full=body.full)


def asked_of(params: SimilarParams | SearchBody, limits: Limits) -> dict[str, Any]:
    """What all searches of the engine take. Raises OverLimit."""
    k = params.k if "k" in params.model_fields_set else min(params.k, limits.k)
    check_count("k", k, limits.k)
    check_count("facets", params.facets, limits.k)
    category, author = params.category, params.author
    filters = Filters(
        categories=(category,) if isinstance(category, str) else tuple(category),
        since=params.since,
        until=params.until,
        authors=(author,) if isinstance(author, str) else tuple(author),
    )
    return {"k": k, "filters": filters or None, "sort": params.sort, "n_counted": params.facets}


def _vector(numbers: list[float]) -> Float32:
    """(dim,) float32, which is not zero there. Raises QueryError, as the Searcher does for zero."""
    if numbers and max(map(abs, numbers)) < LEAST:
        raise QueryError(f"expected a vector that is not zero, found no number of {LEAST:g} or more in it")
    return np.array(numbers, np.float32)
