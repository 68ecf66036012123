"""What the tools of the Model Context Protocol take and give, as an agent reads it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from embedsearch.corpus import to_text
from embedsearch.records import Hit, Paper, SearchResult
from embedsearch.render.results import arxiv_url

MAX_K = 1000
MAX_TEXT = 10_000
"""Characters of a query."""
MAX_FILTERS = 32
MAX_FILTER = 200
"""Characters of one category or name, and of a date."""
MAX_ID = 1000
AUTHORS_SHOWN = 20
"""Of a collaboration, a thousand names would drown an agent."""


def bound(description: str, **schema: Any) -> Any:
    """A parameter whose bounds the schema shows and `Tools` checks, so that the message is ours."""
    return Field(description=description, json_schema_extra=schema)


def _as_list(given: object) -> object:
    """Agents send one name as a text."""
    return [given] if isinstance(given, str) else given


K = Annotated[int, bound("The most papers to return.", minimum=1, maximum=MAX_K)]
Id = Annotated[
    str,
    bound(
        "The id of a paper as search_papers returns it (2301.01234, astro-ph/0601001); an arXiv id with a version or"
        " its address works too.",
        minLength=1,
        maxLength=MAX_ID,
    ),
]
Categories = Annotated[
    list[str] | None,
    BeforeValidator(_as_list),
    bound("Only papers in one of these arXiv categories: astro-ph.GA, gr-qc; * is a wildcard (astro-ph*)."),
]
Since = Annotated[str | None, bound("Only papers from this day, month or year on: 2019, 2019-05 or 2019-05-31.")]
Until = Annotated[str | None, bound("Only papers up to this day, month or year.")]
Authors = Annotated[
    list[str] | None, BeforeValidator(_as_list), bound("Only papers by all of these authors: J. Smith, or Smith.")
]


class FoundPaper(BaseModel):
    """A paper that a search found."""

    id: str
    title: str
    score: float = Field(description="What papers are ordered by, higher is better; see search_papers.")
    cosine: float | None = Field(description="Similarity by meaning, at most 1; null where the paper has no vector.")
    authors: list[str] = Field(description=f"The first {AUTHORS_SHOWN} at most.")
    n_authors: int
    categories: list[str] = Field(description="arXiv categories, the primary one first.")
    published: str | None = Field(description="As precise as it is known: 2023-01-15, 2023-01 or 2023.")
    sentence: str | None = Field(description="The sentence of the abstract that fits the query's words best.")
    abstract: str
    url: str | None = Field(description="The paper's page, null where it is not arXiv's.")


class Found(BaseModel):
    """The papers that a search found, best first."""

    query: str
    mode: str = Field(description="What it went by: hybrid, dense or keyword.")
    papers: list[FoundPaper]


class PaperDetails(BaseModel):
    """All that the index knows of a paper."""

    id: str
    title: str
    authors: list[str] = Field(description=f"The first {AUTHORS_SHOWN} at most.")
    n_authors: int
    abstract: str
    categories: list[str] = Field(description="arXiv categories, the primary one first.")
    published: str | None
    updated: str | None
    version: int | None
    doi: str | None
    journal_ref: str | None
    comments: str | None
    licence: str | None
    url: str | None


def found(result: SearchResult) -> Found:
    """A result as the tools give it."""
    return Found(query=result.query, mode=result.mode, papers=[_paper(hit) for hit in result.hits])


def _paper(hit: Hit) -> FoundPaper:
    return FoundPaper(
        id=hit.id,
        title=hit.title,
        score=hit.score,
        cosine=hit.cosine,
        authors=list(hit.authors[:AUTHORS_SHOWN]),
        n_authors=len(hit.authors),
        categories=list(hit.categories),
        published=hit.published,
        sentence=hit.sentence,
        abstract=hit.abstract,
        url=arxiv_url(hit.id),
    )


def details(paper: Paper) -> PaperDetails:
    """A paper as people read it."""
    return PaperDetails(
        id=paper.id,
        title=to_text(paper.title),
        authors=[to_text(name) for name in paper.authors[:AUTHORS_SHOWN]],
        n_authors=len(paper.authors),
        abstract=to_text(paper.abstract),
        categories=list(paper.categories),
        published=paper.published,
        updated=paper.updated,
        version=paper.version,
        doi=paper.doi,
        journal_ref=paper.journal_ref,
        comments=paper.comments,
        licence=paper.licence,
        url=arxiv_url(paper.id),
    )
