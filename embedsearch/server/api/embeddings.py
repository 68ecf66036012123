"""/v1/embeddings and /v1/models in the shape of OpenAI's API, so that its clients can use the index's encoder."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, Request, Response

from embedsearch.encoders import Encoded, Role
from embedsearch.errors import ModelNotFound, OptionError
from embedsearch.server.answers import EmbeddingsAnswer, ModelsAnswer
from embedsearch.server.api.common import READING, documented, encoded, engine_of, limits_of
from embedsearch.server.auth import reader
from embedsearch.server.bounds import check_texts
from embedsearch.server.engine import Answer, Engine
from embedsearch.server.public_names import model_name
from embedsearch.server.schemas import EmbeddingsBody
from embedsearch.server.strict import Parameters, StrictRoute
from embedsearch.store.info import space_dim

router = APIRouter(prefix="/v1", tags=["embeddings"], route_class=StrictRoute, dependencies=[Depends(reader)])

DEFAULT = "default"
"""Stands for the index's model, whatever its name."""

EXAMPLES: dict[str, Any] = {
    "text": {"summary": "One text", "value": {"input": "magnetized plasma", "model": DEFAULT}},
    "queries": {
        "summary": "Queries, as base64",
        "value": {"input": ["dust", "gas"], "model": DEFAULT, "role": "query", "encoding_format": "base64"},
    },
}


class _UnknownModel(ModelNotFound):
    """A request names another model than the index's."""

    status = 404


@router.post(
    "/embeddings",
    summary="Embed texts with the index's model",
    operation_id="embed",
    response_model=EmbeddingsAnswer,
    responses=documented(*READING, 404, 409, 415),
    dependencies=[Depends(Parameters())],
)
async def embed(request: Request, body: Annotated[EmbeddingsBody, Body(openapi_examples=EXAMPLES)]) -> Response:
    """Vectors of unit length in the index's space, which `POST /v1/search` takes as `vector`."""
    engine = engine_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    check_texts(texts, limits_of(request))
    generation = engine.searcher.generation
    name = model_name(generation.model)
    if body.model not in (name, DEFAULT):
        raise _UnknownModel(f"expected the model {name!r}, or {DEFAULT!r}, found {body.model!r}")
    dim = space_dim(generation)
    if body.dimensions not in (None, dim):
        raise OptionError(f"expected dimensions of {dim}, as the index has them, or none, found {body.dimensions}")
    answer = await engine.embed(texts, role=Role(body.role))
    value = _embeddings(answer.value, name, base64_=body.encoding_format == "base64", most=_max_tokens(engine))
    return await encoded(value, answer, size=answer.value.vectors.size)


@router.get(
    "/models",
    summary="List the one model of the index",
    operation_id="models",
    response_model=ModelsAnswer,
    responses=documented(*READING),
    dependencies=[Depends(Parameters())],
)
async def models(request: Request) -> Response:
    """As clients of OpenAI's API ask for it."""
    generation = engine_of(request).searcher.generation
    made = int(datetime.fromisoformat(generation.created).timestamp())
    model = {"id": model_name(generation.model), "object": "model", "created": made, "owned_by": "embedsearch"}
    return await encoded({"object": "list", "data": [model]}, Answer(value=None, generation=generation.number))


def _embeddings(found: Encoded, model: str, *, base64_: bool, most: int) -> dict[str, Any]:
    n_tokens = int(np.minimum(found.n_tokens, most).sum())
    little = found.vectors.astype("<f4")
    rows = [base64.b64encode(row.tobytes()).decode() for row in little] if base64_ else little.tolist()
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _max_tokens(engine: Engine) -> int:
    """At which the model cuts a text; the encoder is open, since it has just been used."""
    return engine.searcher.encoder.recipe.max_tokens
