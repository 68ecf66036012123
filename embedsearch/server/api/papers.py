"""/v1/papers: one paper, and those like it. Ids may hold slashes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from embedsearch.errors import OverLimit, PaperNotFound
from embedsearch.render.results import paper_dict
from embedsearch.server.answers import PaperAnswer, ResultAnswer
from embedsearch.server.api.common import READING, documented, encoded, encoded_results, engine_of, limits_of
from embedsearch.server.api.search import asked_of
from embedsearch.server.auth import reader
from embedsearch.server.schemas import MAX_ID, PaperParams, SimilarParams
from embedsearch.server.strict import Parameters, StrictRoute
from embedsearch.store.catalogue import StoredPaper

router = APIRouter(prefix="/v1/papers", tags=["papers"], route_class=StrictRoute, dependencies=[Depends(reader)])

AnyId = Annotated[
    str,
    Path(
        description="An arXiv id in any form (2301.01234v2, astro-ph/0601001, an address), or an id of the corpus",
        examples=["2005.99066"],
        json_schema_extra={"minLength": 1, "maxLength": MAX_ID},
    ),
]


# Before the next, which would take "/similar" for a part of an id.
@router.get(
    "/{id:path}/similar",
    summary="Find the papers most like one",
    operation_id="similar",
    response_model=ResultAnswer,
    responses=documented(*READING, 404, 409),
    dependencies=[Depends(Parameters(SimilarParams))],
)
async def similar(request: Request, id: AnyId, params: Annotated[SimilarParams, Query()]) -> Response:
    """The papers nearest to one by meaning, without itself."""
    _check_id(id)
    answer = await engine_of(request).similar_to(id, **asked_of(params, limits_of(request)))
    return await encoded_results(answer, full=params.full)


@router.get(
    "/{id:path}",
    summary="Get a paper",
    operation_id="paper",
    response_model=PaperAnswer,
    responses=documented(*READING, 404),
    dependencies=[Depends(Parameters(PaperParams))],
)
async def paper(request: Request, id: AnyId, params: Annotated[PaperParams, Query()]) -> Response:
    """A paper as people read it: LaTeX is decoded."""
    _check_id(id)
    answer = await engine_of(request).paper(id)
    return await encoded(_paper(answer.value, full=params.full), answer)


def _check_id(id: str) -> None:
    if not id:
        raise PaperNotFound("expected the id of a paper behind /v1/papers/, found none")
    if len(id) > MAX_ID:
        raise OverLimit(f"expected an id of at most {MAX_ID:,} characters, found {len(id):,}")


def _paper(stored: StoredPaper, *, full: bool) -> dict[str, Any]:
    raw = paper_dict(stored.paper)
    shown = {name: value for name, value in raw.items() if name != "extra"}
    shown |= {"title": stored.title, "abstract": stored.abstract, "authors": list(stored.authors)}
    return shown | ({"paper": raw} if full else {})
