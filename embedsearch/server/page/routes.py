"""/ and what belongs to it: the page, its fragments and its files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from embedsearch.errors import EmbedsearchError, OverLimit, Overloaded
from embedsearch.render.bibtex import to_bibtex
from embedsearch.server.auth import reader
from embedsearch.server.options import Limits
from embedsearch.server.page.address import Address, read_address, read_day_address
from embedsearch.server.page.errors import error_view
from embedsearch.server.page.files import files
from embedsearch.server.page.states import (
    RENDERING,
    State,
    day_of,
    engine_of,
    has_day,
    of_the_day,
    options_of,
    searched,
)
from embedsearch.server.page.templating import rendered
from embedsearch.server.page.view import IndexLine, View, index_line
from embedsearch.server.problems import RETRY_AFTER, status_of
from embedsearch.server.schemas import MAX_ID

router = APIRouter(include_in_schema=False)

SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # What somebody looks for is nobody else's business.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


LOCKED: Final = View(address=Address(), heading="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A page: how its address is read, and what it shows."""

    read: Callable[[QueryParams, Limits], Address]
    show: Callable[[Request, Address], Awaitable[State]]


SEARCH: Final = Kind(read=read_address, show=searched)
DAY: Final = Kind(read=read_day_address, show=of_the_day)


@router.get("/")
async def page(request: Request) -> Response:
    """The whole page; without its results where those need a key, which only a script can send."""
    if "go" in request.query_params and (proper := _proper(request)) is not None:
        return RedirectResponse(proper, 303, headers={**SECURITY, "Cache-Control": "no-store"})
    if _is_locked(request):
        return await _response(request, "locked.html", lambda: LOCKED)
    return await _shown(request, "page.html", SEARCH)


@router.get("/page/results", dependencies=[Depends(reader)])
async def results(request: Request) -> Response:
    """What stands below the search box, for the page's script."""
    return await _shown(request, "view.html", SEARCH)


@router.get("/today")
async def today(request: Request) -> Response:
    """The day's list, as the whole page."""
    if _is_locked(request):
        return await _response(request, "locked.html", lambda: LOCKED)
    return await _shown(request, "page.html", DAY)


@router.get("/page/today", dependencies=[Depends(reader)])
async def today_below(request: Request) -> Response:
    """The day's list, as it stands below the search box."""
    return await _shown(request, "view.html", DAY)


@router.get("/page/bibtex/{id:path}", dependencies=[Depends(reader)])
async def bibtex(request: Request, id: str) -> Response:
    """The BibTeX entry of a paper."""
    if len(id) > MAX_ID:
        raise OverLimit(f"expected an id of at most {MAX_ID:,} characters, found {len(id):,}")
    answer = await engine_of(request).paper(id)
    headers = {**SECURITY, "X-Index-Generation": str(answer.generation), "Cache-Control": "private, no-cache"}
    return PlainTextResponse(to_bibtex([answer.value.paper]), headers=headers)


@router.get("/static/{name}")
async def static(name: str, v: str = "") -> Response:
    """A file of the page."""
    file = files().get(name)
    if file is None:
        raise HTTPException(404)
    kept = "public, max-age=31536000, immutable" if v == file.version else "no-cache"
    headers = {**SECURITY, "Cache-Control": kept}
    return Response(file.content, media_type=file.media_type, headers=headers)


def _is_locked(request: Request) -> bool:
    return request.app.state.keys.required and not options_of(request).public_read


def _proper(request: Request) -> str | None:
    """The address of the state that a button of the form means, as links have it; None for what is none."""
    try:
        return read_address(request.query_params, options_of(request).limits).href()
    except EmbedsearchError:  # which is shown where it stands
        return None


async def _shown(request: Request, template: str, kind: Kind) -> Response:
    """The state that the request's address means, or what was wrong with it."""
    options = options_of(request)
    address = Address(q=request.query_params.get("q", "")[: options.limits.text] or None)  # at least that is not lost
    try:
        address = kind.read(request.query_params, options.limits)
        state = await kind.show(request, address)
    except EmbedsearchError as error:
        failed, status = error_view(error, address, hidden=options.index), status_of(error)
        headers = {"Retry-After": str(getattr(error, "retry_after", RETRY_AFTER))} if status == 503 else {}
        return await _response(request, template, lambda: failed, index=_index(request), status=status, headers=headers)
    headers = {"X-Index-Generation": str(state.generation)}
    index = _index(request)
    return await _response(request, template, state.make, index=index, status=state.status, headers=headers)


def _index(request: Request) -> IndexLine | None:
    try:
        searcher = engine_of(request).searcher
    except Overloaded:  # none is open yet, which is what the page is about then
        return None
    return index_line(searcher.generation, has_encoder=searcher.has_encoder)


async def _response(
    request: Request,
    template: str,
    make: Callable[[], View],
    *,
    index: IndexLine | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    max_text = options_of(request).limits.text

    day = day_of(request) if index is not None and has_day(request) else None

    def render() -> str:
        known = replace(index, has_day=day.read() is not None) if index is not None and day is not None else index
        return rendered(template, view=make(), index=known, max_text=max_text)

    content = await asyncio.get_running_loop().run_in_executor(RENDERING, render)
    return HTMLResponse(content, status, headers={**SECURITY, "Cache-Control": "private, no-cache", **(headers or {})})
