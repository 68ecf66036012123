"""What an address shows: what the engine answers, as a View that is still to be made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from fastapi import Request

from embedsearch.errors import PaperNotFound, QueryError
from embedsearch.server.engine import Engine
from embedsearch.server.options import ServeOptions
from embedsearch.server.page.address import Address
from embedsearch.server.page.day import DayFile, day_view, ids_of, is_shown
from embedsearch.server.page.narrowing import chips
from embedsearch.server.page.view import COUNTED, View, left_out, view_of

RENDERING: Final = ThreadPoolExecutor(2, thread_name_prefix="page")
"""Many papers take seconds to write: not in the event loop, nor in so many threads that it would have to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is to be shown, made from an answer of that generation; to be made in RENDERING."""

    make: Callable[[], View]
    generation: int
    status: int = 200


async def searched(request: Request, address: Address) -> State:
    """The hits of a query, what is like the chosen papers, or the start page. Raises what the engine raises."""
    engine, limit = engine_of(request), options_of(request).limits.k
    if address.asks_alike:
        return await _alike(engine, address, limit)
    if address.q is None:
        home = View(address=address, heading="", chips=chips(address))
        return State(make=lambda: home, generation=engine.searcher.generation.number)
    if not address.q.strip():
        raise QueryError("expected words to search for, found an empty query")
    answer = await engine.search(
        [address.q], k=address.k, mode=address.mode, filters=address.filters, sort=address.sort, n_counted=COUNTED
    )
    return State(make=partial(view_of, answer.value[0], address, limit=limit), generation=answer.generation)


async def _alike(engine: Engine, address: Address, limit: int) -> State:
    """What is like the chosen papers. An address may be older than the index: what is not in it any more is left out.

    Raises PaperNotFound where none of them is there.
    """
    found = dict(zip(address.like, (await engine.papers(address.like)).value, strict=True))
    papers = tuple(stored.paper for stored in found.values() if stored is not None)
    if not papers:
        raise PaperNotFound(f"expected papers of this index, found {', '.join(address.like)}")
    answer = await engine.similar_to(
        papers[0].id if len(papers) == 1 else [paper.id for paper in papers],
        combine=address.combine,
        k=address.k,
        filters=address.filters,
        sort=address.sort,
        n_counted=COUNTED,
    )
    missing = left_out([id for id, stored in found.items() if stored is None])
    make = partial(view_of, answer.value, address, limit=limit, liked=papers, missing=missing)
    return State(make=make, generation=answer.generation)


async def of_the_day(request: Request, address: Address) -> State:
    """The day's list, if there is one for those who ask."""
    engine, limit = engine_of(request), options_of(request).limits.k
    read, loop = day_of(request).read, asyncio.get_running_loop()
    day = await loop.run_in_executor(RENDERING, read) if has_day(request) else None
    if day is None:
        heading = "There is no list of the day here"
        hint = "Who runs this server makes one with `embedsearch today`; here it is shown to those who may see it."
        none = View(address=address, heading=heading, error=heading, hint=hint)
        return State(make=lambda: none, generation=engine.searcher.generation.number, status=404)
    ids = ids_of(day, address.k)
    answer = await engine.papers(ids)
    papers = dict(zip(ids, answer.value, strict=True))
    return State(make=partial(day_view, day, papers, address, limit=limit), generation=answer.generation)


def has_day(request: Request) -> bool:
    """Whether a list of the day, if there is one, is for those who ask."""
    return is_shown(options_of(request), request.app.state.keys)


def day_of(request: Request) -> DayFile:
    """The list beside the index."""
    day: DayFile = request.app.state.day
    return day


def engine_of(request: Request) -> Engine:
    """The application's."""
    engine: Engine = request.app.state.engine
    return engine


def options_of(request: Request) -> ServeOptions:
    """The application's."""
    options: ServeOptions = request.app.state.options
    return options
