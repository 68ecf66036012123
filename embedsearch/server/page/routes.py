"""/ and what belongs to it: the page, its fragments and its files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from embedsearch.errors import EmbedsearchError, OverLimit, Overloaded, QueryError
from embedsearch.render.results import to_bibtex
from embedsearch.server.auth import reader
from embedsearch.server.engine import Answer, Engine
from embedsearch.server.options import ServeOptions
from embedsearch.server.page.address import MAX_WORD, Address, read_address
from embedsearch.server.page.files import files
from embedsearch.server.page.prose import prose
from embedsearch.server.page.templating import rendered
from embedsearch.server.page.view import COUNTED, IndexLine, View, chips, error_view, index_line, view_of
from embedsearch.server.problems import RETRY_AFTER, status_of

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


@router.get("/")
async def page(request: Request) -> Response:
    """The whole page; without its results where those need a key, which only a script can send."""
    if _is_locked(request):
        return await _response(request, "locked.html", view=View(address=Address(), heading=""), index=None)
    return await _shown(request, "page.html")


@router.get("/page/results", dependencies=[Depends(reader)])
async def results(request: Request) -> Response:
    """What stands below the search box, for the page's script."""
    return await _shown(request, "view.html")


@router.get("/page/bibtex/{id:path}", dependencies=[Depends(reader)])
async def bibtex(request: Request, id: str) -> Response:
    """The BibTeX entry of a paper."""
    if len(id) > MAX_WORD:
        raise OverLimit(f"expected an id of at most {MAX_WORD} characters, found {len(id):,}")
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


def _is_locked(request: Request) -> bool:
    return bool(request.app.state.keys.required) and not _options(request).public_read


async def _shown(request: Request, template: str) -> Response:
    """The state that the request's address means, or what was wrong with it."""
    address = Address()
    try:
        address = read_address(request.query_params, _options(request).limits)
        index = _index(request)
        found = await _found(request, address)
    except EmbedsearchError as error:
        status = status_of(error)
        headers = {"Retry-After": str(getattr(error, "retry_after", RETRY_AFTER))} if status == 503 else {}
        view = error_view(error, address)
        return await _response(
            request, template, view=view, index=_index(request, or_none=True), status=status, headers=headers
        )
    if found is None:
        view = View(address=address, heading="", chips=chips(address))
        return await _response(
            request, template, view=view, index=index, generation=index.generation if index else None
        )
    return await _response(request, template, found=found, index=index, address=address, generation=found[0].generation)


async def _found(request: Request, address: Address) -> tuple[Answer[Any], Markup | None] | None:
    """The answer to what is asked, and the title of the paper that others are to be like; None: nothing is asked."""
    engine = _engine(request)
    if address.like is not None:
        paper = (await engine.paper(address.like)).value.paper
        title = prose(paper.title).html() if paper.title.strip() else Markup.escape(paper.id)
        alike = await engine.similar_to(
            address.like, k=address.k, filters=address.filters, sort=address.sort, n_counted=COUNTED
        )
        return alike, title
    if address.q is None:
        return None
    if not address.q.strip():
        raise QueryError("expected words to search for, found an empty query")
    answer = await engine.search(
        [address.q], k=address.k, mode=address.mode, filters=address.filters, sort=address.sort, n_counted=COUNTED
    )
    return Answer(value=answer.value[0], generation=answer.generation), None


def _index(request: Request, *, or_none: bool = False) -> IndexLine | None:
    try:
        searcher = _engine(request).searcher
    except Overloaded:
        if or_none:
            return None
        raise
    return index_line(searcher.generation, has_encoder=searcher.has_encoder)


async def _response(
    request: Request,
    template: str,
    *,
    index: IndexLine | None,
    view: View | None = None,
    found: tuple[Answer[Any], Markup | None] | None = None,
    address: Address | None = None,
    generation: int | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    limits = _options(request).limits

    def render() -> str:
        shown = view
        if shown is None:
            assert found is not None
            assert address is not None
            shown = view_of(found[0].value, address, limit=limits.k, about=found[1])
        return rendered(template, view=shown, index=index, max_text=limits.text)

    content = await asyncio.to_thread(render)  # many formulas take longer than the event loop may stand still
    number = {"X-Index-Generation": str(generation)} if generation is not None else {}
    return HTMLResponse(
        content, status, headers={**SECURITY, "Cache-Control": "private, no-cache", **number, **(headers or {})}
    )
