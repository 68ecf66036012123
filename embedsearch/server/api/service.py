"""The server itself: what it serves, whether it lives, whether it can answer, its metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse

from embedsearch._version import __version__
from embedsearch.errors import Overloaded
from embedsearch.server import metrics
from embedsearch.server.answers import InfoAnswer, ReloadAnswer, StateAnswer
from embedsearch.server.api.common import ALWAYS, READING, documented, encoded, engine_of, limits_of
from embedsearch.server.auth import admin, reader
from embedsearch.server.options import Limits
from embedsearch.server.public_names import model_name, public_name
from embedsearch.server.strict import Parameters, StrictRoute
from embedsearch.store.info import StoreInfo

router = APIRouter(tags=["service"], route_class=StrictRoute)
open_router = APIRouter(tags=["service"], route_class=StrictRoute, dependencies=[Depends(Parameters())])
"""What needs no key: programs that watch over servers have none."""


@router.get(
    "/v1/info",
    summary="Say what is served",
    operation_id="info",
    response_model=InfoAnswer,
    responses=documented(*READING),
    dependencies=[Depends(reader), Depends(Parameters())],
)
async def info(request: Request) -> Response:
    """The index in numbers, its model, and the bounds of a request."""
    answer = await engine_of(request).info()
    return await encoded(_info(answer.value, limits_of(request)), answer)


@router.post(
    "/v1/reload",
    summary="Look for a newer index now",
    operation_id="reload",
    response_model=ReloadAnswer,
    responses=documented(*READING),
    dependencies=[Depends(admin), Depends(Parameters())],
)
async def reload(request: Request) -> Response:
    """Needs a key with the role admin. The server looks by itself every second or so."""
    answer = await engine_of(request).reload()
    return await encoded({"changed": answer.value, "generation": answer.generation}, answer)


@router.get(
    "/metrics",
    summary="Counters and times, for Prometheus",
    operation_id="metrics",
    response_class=PlainTextResponse,
    responses=documented(*ALWAYS, 401, 403, found=False),
    dependencies=[Depends(reader), Depends(Parameters())],
)
async def read_metrics() -> Response:
    """Of all workers."""
    content, media_type = await asyncio.to_thread(metrics.exposition)
    return Response(content, media_type=media_type)


@open_router.get(
    "/healthz",
    summary="Whether the server lives",
    operation_id="healthz",
    response_model=StateAnswer,
    responses=documented(*ALWAYS, found=False),
)
async def healthz() -> Response:
    """Always, if it does."""
    return _ok()


@open_router.get(
    "/readyz",
    summary="Whether the server can answer",
    operation_id="readyz",
    response_model=StateAnswer,
    responses=documented(*ALWAYS, found=False),
)
async def readyz(request: Request) -> Response:
    """503 until an index is open, and where it is lost."""
    if not engine_of(request).ready:
        raise Overloaded("expected an open index, found none yet: try again in a moment", retry_after=1)
    return _ok()


def _ok() -> Response:
    return Response(msgspec.json.encode({"status": "ok"}), media_type="application/json")


def _info(info: StoreInfo, limits: Limits) -> dict[str, Any]:
    taken = ("generation", "complete", "created", "updated", "n_papers", "n_embedded", "n_tokens", "n_truncated")
    more = ("recipe", "template", "transform", "dim", "dtype", "ann", "sizes")
    return {
        "name": public_name(info.path),
        "version": __version__,
        **{name: getattr(info, name) for name in (*taken, *more)},
        "source": public_name(str(info.corpus["source"])),
        "model": model_name(info.model),
        "limits": {name: getattr(limits, name) for name in ("k", "text", "n_texts", "body", "seconds")},
    }
