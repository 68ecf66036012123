"""/v1: what services ask."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from embedsearch.render.results import result_dict
from embedsearch.server.engine import Engine

router = APIRouter(prefix="/v1")


@router.get("/search")
async def search(request: Request, q: str, k: int = 10, mode: str = "hybrid", full: bool = False) -> Response:
    """Find papers."""
    engine: Engine = request.app.state.engine
    answer = await engine.search([q], k=k, mode=mode)
    return Response(
        msgspec.json.encode(result_dict(answer.value[0], full=full)),
        media_type="application/json",
        headers={"X-Index-Generation": str(answer.generation)},
    )
