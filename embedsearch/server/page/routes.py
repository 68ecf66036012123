"""/ and what belongs to it: the page, its fragments and its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from embedsearch.errors import EmbedsearchError, OverLimit, Overloaded, QueryError
from embedsearch.records import Paper, SearchResult
from embedsearch.render.bibtex import to_bibtex
from embedsearch.server.auth import reader
from embedsearch.server.engine import Engine
from embedsearch.server.options import ServeOptions
from embedsearch.server.page.address import Address, read_address
from embedsearch.server.page.errors import error_view
from embedsearch.server.page.files import files
from embedsearch.server.page.templating import rendered
from embedsearch.server.page.view import COUNTED, IndexLine, View, chips, index_line, view_of
from embedsearch.server.problems import RETRY_AFTER, status_of
from embedsearch.server.schemas import MAX_ID

router = APIRouter(include_in_schema=False)

RENDERING: Final = ThreadPoolExecutor(2, thread_name_prefix="page")
"""Many papers take seconds to write: not in the event loop, nor in so many threads that it would have to wait."""

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


@router.get("/")
async def page(request: Request) -> Response:
    """The whole page; without its results where those need a key, which only a script can send."""
    if request.app.state.keys.required and not _options(request).public_read:
        return await _response(request, "locked.html", lambda: View(address=Address(), heading=""))
    return await _shown(request, "page.html")


@router.get("/page/results", dependencies=[Depends(reader)])
async def results(request: Request) -> Response:
    """What stands below the search box, for the page's script."""
    return await _shown(request, "view.html")


@router.get("/page/bibtex/{id:path}", dependencies=[Depends(reader)])
async def bibtex(request: Request, id: str) -> Response:
    """The BibTeX entry of a paper."""
    if len(id) > MAX_ID:
        raise OverLimit(f"expected an id of at most {MAX_ID:,} characters, found {len(id):,}")
    answer = await _engine(request).paper(id)
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


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _options(request: Request) -> ServeOptions:
    options: ServeOptions = request.app.state.options
    return options


async def _shown(request: Request, template: str) -> Response:
    """The state that the request's address means, or what was wrong with it."""
    limits = _options(request).limits
    address = Address(q=request.query_params.get("q", "")[: limits.text] or None)  # at least that is not lost
    try:
        address = read_address(request.query_params, limits)
        searcher = _engine(request).searcher
        found = await _found(request, address)
    except EmbedsearchError as error:
        failed, status = error_view(error, address), status_of(error)
        headers = {"Retry-After": str(getattr(error, "retry_after", RETRY_AFTER))} if status == 503 else {}
        return await _response(request, template, lambda: failed, index=_index(request), status=status, headers=headers)
    if found is None:
        headers = {"X-Index-Generation": str(searcher.generation.number)}
        home = View(address=address, heading="", chips=chips(address))
        return await _response(request, template, lambda: home, index=_index(request), headers=headers)
    headers = {"X-Index-Generation": str(found.generation)}
    make = partial(view_of, found.value, address, limit=limits.k, liked=found.liked)
    return await _response(request, template, make, index=_index(request), headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What answers a request; `liked` is the paper that the others are to be like."""

    value: SearchResult
    generation: int
    liked: Paper | None = None


async def _found(request: Request, address: Address) -> _Found | None:
    """None where nothing is asked."""
    engine = _engine(request)
    if address.like is not None:
        paper = (await engine.paper(address.like)).value.paper
        alike = await engine.similar_to(
            address.like, k=address.k, filters=address.filters, sort=address.sort, n_counted=COUNTED
        )
        return _Found(value=alike.value, generation=alike.generation, liked=paper)
    if address.q is None:
        return None
    if not address.q.strip():
        raise QueryError("expected words to search for, found an empty query")
    answer = await engine.search(
        [address.q], k=address.k, mode=address.mode, filters=address.filters, sort=address.sort, n_counted=COUNTED
    )
    return _Found(value=answer.value[0], generation=answer.generation)


def _index(request: Request) -> IndexLine | None:
    try:
        searcher = _engine(request).searcher
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
    max_text = _options(request).limits.text

    def render() -> str:
        return rendered(template, view=make(), index=index, max_text=max_text)

    content = await asyncio.get_running_loop().run_in_executor(RENDERING, render)
    return HTMLResponse(content, status, headers={**SECURITY, "Cache-Control": "private, no-cache", **(headers or {})})
