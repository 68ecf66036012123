"""What is answered: models that describe it and check nothing; render/results.py makes the JSON of results."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answered(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class RawPaper(Answered):
    """A paper as its corpus has it: LaTeX and line breaks are kept."""

    id: str
    abstract: str
    title: str
    authors: list[str]
    categories: list[str]
    published: str | None
    updated: str | None
    version: int | None
    doi: str | None
    journal_ref: str | None
    comments: str | None
    licence: str | None
    extra: dict[str, Any] = Field(description="What the corpus has beside")


class HitAnswer(Answered):
    """A paper that answers."""

    rank: int = Field(ge=1)
    id: str
    score: float = Field(description="What the hits are ordered by: cosine, BM25 or the hybrid of both, by mode")
    cosine: float | None = Field(description="null where the paper has no vector yet, or none was asked for")
    title: str
    abstract: str
    authors: list[str]
    categories: list[str]
    published: str | None = Field(description="A day, a month or a year")
    like: str | None = Field(None, description="The nearest of the papers that were asked for; only of several")
    sentence: str | None = Field(None, description="The sentence of the abstract that answers; only with full")
    paper: RawPaper | None = Field(None, description="Only with full")


class Counted(Answered):
    """How many of the best papers have a name."""

    name: str
    n: int = Field(ge=1)


class FacetsAnswer(Answered):
    """What the best papers are; an unknown year is the empty text."""

    n_counted: int = Field(ge=0)
    categories: list[Counted]
    years: list[Counted]


class ResultAnswer(Answered):
    """The hits of one query, best first."""

    query: str = Field(
        description="As it was searched for; the id of a paper, or of the first of several; empty for a vector"
    )
    mode: Literal["hybrid", "dense", "keyword"]
    hits: list[HitAnswer]
    facets: FacetsAnswer | None = Field(None, description="Only where it was asked for")


class PaperAnswer(Answered):
    """A paper as people read it."""

    id: str
    title: str
    abstract: str
    authors: list[str]
    categories: list[str]
    published: str | None
    updated: str | None
    version: int | None
    doi: str | None
    journal_ref: str | None
    comments: str | None
    licence: str | None
    paper: RawPaper | None = Field(None, description="Only with full")


class EmbeddingAnswer(Answered):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int = Field(ge=0)
    embedding: list[float] | str = Field(description="Numbers, or the base64 of little-endian float32")


class Usage(Answered):
    """Tokens that the model processed; what it cut off does not count."""

    prompt_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)


class EmbeddingsAnswer(Answered):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[EmbeddingAnswer]
    model: str
    usage: Usage


class ModelAnswer(Answered):
    """The model of the index."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(Answered):
    """All models that there are: one."""

    object: Literal["list"]
    data: list[ModelAnswer]


class LimitsAnswer(Answered):
    """The most that a request may ask for."""

    k: int
    text: int = Field(description="Characters of a text")
    n_texts: int = Field(description="Texts of a request")
    body: int = Field(description="Bytes")
    seconds: float = Field(description="Until an answer")


class InfoAnswer(Answered):
    """What is served."""

    name: str = Field(description="Of the index")
    version: str = Field(description="Of embedsearch")
    generation: int
    complete: bool = Field(description="Whether all papers have vectors")
    created: str
    updated: str
    n_papers: int
    n_embedded: int
    n_tokens: int
    n_truncated: int
    source: str = Field(description="The name of the file that the papers came from")
    model: str
    recipe: dict[str, Any]
    template: str
    transform: str | None
    dim: int | None = Field(description="Numbers of a vector in the space of the index")
    dtype: str
    ann: dict[str, Any] | None = Field(description="The kind of FAISS index; null: all vectors are scanned")
    sizes: dict[str, int] = Field(description="Bytes, by kind of file")
    limits: LimitsAnswer


class ReloadAnswer(Answered):
    """What a look at the index found."""

    changed: bool = Field(description="Whether there was something newer, which answers from now on")
    generation: int


class StateAnswer(Answered):
    """Whether the server lives, or can answer."""

    status: Literal["ok"]


class ProblemError(Answered):
    """What is wrong in one place of a request."""

    at: str = Field(examples=["body.k"])
    expected: str
    found: str


class Problem(Answered):
    """An error, as RFC 9457 has it."""

    type: Literal["about:blank"]
    title: str = Field(description="HTTP's phrase for the status")
    status: int
    detail: str = Field(description="What was expected, what was found, what to do")
    code: str = Field(description="The name of the error in embedsearch/errors.py")
    request_id: str | None
    errors: list[ProblemError] | None = None
    message: str | None = Field(None, description="The detail again, for clients of OpenAI's API")
