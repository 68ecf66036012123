"""What may be asked for: the models that check requests and describe them.

A bound that is configured is marked "x-limit" here: the document shows its value, `bounds.py` enforces it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from embedsearch.corpus import check_date
from embedsearch.errors import OptionError

MAX_FILTERS = 32
"""Categories, or authors, of one request."""

MAX_FILTER = 200
"""Characters of a category's pattern or an author's name."""

MAX_ID = 1000
"""Characters of a paper's id, in whatever form."""

MAX_LIKE = 100
"""Papers that others are to be like."""

WORDS = r"[^\s\x00-\x1f\x7f]"
"""What a query has at least one of."""

DATE = (
    r"^([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
    r"(-(0[1-9]|1[0-2])|-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|-(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|-02-(0[1-9]|1[0-9]|2[0-8]))?$"
)
"""As the document has it; 29 February of a leap year is one too."""

LEAST, MOST = 1e-30, 3.4028234663852886e38
"""The largest number of a vector lies between these, whatever its sign: within float32, and not zero."""


def _whole_number(value: object) -> object:
    """A number of a query string: pydantic would take 5.0, +5 and 1_000 as well."""
    if not (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19):
        raise PydanticCustomError("whole_number", "expected a whole number")
    return int(value)


def _without_point(value: object) -> object:
    """5.0 is an integer to JSON Schema, and to a language that has one kind of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _yes_or_no(value: object) -> object:
    """pydantic would take yes, on and 1 as well."""
    if value not in ("true", "false"):
        raise PydanticCustomError("true_or_false", "expected true or false")
    return value == "true"


def _as_date(value: object) -> object:
    try:
        return check_date(value)  # type: ignore[arg-type]  # it looks for itself
    except OptionError:
        raise PydanticCustomError("date", "expected a date such as 2023, 2023-01 or 2023-01-15") from None


def _no_tokens(value: object) -> object:
    if isinstance(value, list) and value and all(isinstance(one, int | list) for one in value):
        raise PydanticCustomError(
            "token_list",
            "expected a text or a list of texts; tokens mean something to the model that they were made for alone: send"
            " the text (LangChain's OpenAIEmbeddings does so with check_embedding_ctx_length=False)",
        )
    return value


def limited(limit: str, **more: Any) -> Any:
    """A field with a bound of that name in `Limits`."""
    return Field(json_schema_extra={"x-limit": limit}, **more)


Mode = Literal["hybrid", "dense", "keyword"]
Sort = Literal["score", "date"]
Combine = Literal["nearest", "mean"]
Date = Annotated[str, BeforeValidator(_as_date), Field(json_schema_extra={"pattern": DATE})]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
Text = Annotated[str, limited("text", min_length=1)]
QueryText = Annotated[str, Field(json_schema_extra={"x-limit": "text", "minLength": 1, "pattern": WORDS})]
"""An empty one is the Searcher's to refuse: it knows which of several it is."""
Filter = Annotated[str, Field(min_length=1, max_length=MAX_FILTER)]
Author = Annotated[str, Field(min_length=1, max_length=MAX_FILTER, pattern=r"[^\W_]")]
# Lists fail fast: a body has room for hundreds of thousands of faults, of which the first says enough.
TextList = Annotated[list[Text], limited("n_texts", min_length=1, fail_fast=True)]
QueryList = Annotated[list[QueryText], limited("n_texts", min_length=1, fail_fast=True)]
CategoryList = Annotated[list[Filter], Field(max_length=MAX_FILTERS, fail_fast=True)]
AuthorList = Annotated[list[Author], Field(max_length=MAX_FILTERS, fail_fast=True)]
IdList = Annotated[list[Id], Field(min_length=1, max_length=MAX_LIKE, fail_fast=True)]
Vector = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False, ge=-MOST, le=MOST)]],
    Field(
        fail_fast=True,
        json_schema_extra={"minItems": 1, "contains": {"anyOf": [{"minimum": LEAST}, {"maximum": -LEAST}]}},
    ),
]
"""One of another length, or zero, is a QueryError, as the Searcher has it."""
Count = Annotated[int, BeforeValidator(_whole_number)]
Whole = Annotated[int, BeforeValidator(_without_point)]
Flag = Annotated[bool, BeforeValidator(_yes_or_no)]

ABOUT = {
    "k": "The most papers to give",
    "mode": "By meaning and words, by meaning (dense), or by words (keyword)",
    "category": "Only papers in one of these categories; patterns as astro-ph*",
    "since": "Only papers from this day, month or year on",
    "until": "Only papers up to this day, month or year",
    "author": "Only papers by all of these authors; initials will do",
    "combine": "Of several papers: score by the nearest of them, or by their mean. Only with like",
    "sort": "Order of the k best: best, or newest first",
    "facets": "Count categories and years over so many of the best papers; 0: do not",
    "full": "With the sentence that answers, and the paper as its corpus has it",
}


class PaperParams(BaseModel):
    """Query parameters of a paper."""

    model_config = ConfigDict(extra="forbid")

    full: Flag = Field(False, description=ABOUT["full"])


class SimilarParams(PaperParams):
    """Query parameters of the papers like one."""

    k: Count = limited("k", default=10, ge=1, description=ABOUT["k"], examples=[3])
    category: CategoryList = Field([], description=ABOUT["category"], examples=[["astro-ph*"]])
    since: Date | None = Field(None, description=ABOUT["since"], examples=["2015"])
    until: Date | None = Field(None, description=ABOUT["until"], examples=["2024-06"])
    author: AuthorList = Field([], description=ABOUT["author"])
    sort: Sort = Field("score", description=ABOUT["sort"])
    facets: Count = limited("k", default=0, ge=0, description=ABOUT["facets"], examples=[100])


class SearchParams(SimilarParams):
    """Query parameters of a search."""

    q: QueryText = Field(description="Words, a sentence, a title, an arXiv id or a DOI", examples=["magnetized plasma"])
    mode: Mode = Field("hybrid", description=ABOUT["mode"])


class Body(BaseModel):
    """A JSON object; no value becomes one of another type."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: object) -> object:
        if isinstance(given, dict) and (unknown := [str(name)[:100] for name in given if name not in cls.model_fields]):
            known = ", ".join(cls.model_fields)
            raise PydanticCustomError(
                "unknown_field", "expected fields among {known}", {"known": known, "found": unknown[0]}
            )
        return given


def _one_of(schema: dict[str, Any]) -> None:
    """What `SearchBody` demands of its fields together."""
    one, dense = {"not": {"type": "null"}}, {"mode": {"const": "dense"}}
    schema["oneOf"] = [
        {
            "required": [name],
            "properties": {other: one if other == name else {"type": "null"} for other in ("query", "vector", "like")}
            | ({} if name == "query" else dense)
            | ({} if name == "like" else {"combine": False}),
        }
        for name in ("query", "vector", "like")
    ]


class SearchBody(Body):
    """A search: exactly one of query, vector and like."""

    model_config = ConfigDict(json_schema_extra=_one_of)

    query: QueryText | QueryList | None = Field(
        None,
        description="A text, or a list of texts, which gives a list of results. The number of texts times k may be ten"
        " times the greatest k",
    )
    vector: Vector | None = Field(None, description="A vector in the index's space, of any length but zero")
    like: Id | IdList | None = Field(
        None,
        description="The id of a paper, in any form, or a list of ids: gives the papers like it, or like them, without"
        " these",
    )
    combine: Combine = Field("nearest", description=ABOUT["combine"])
    k: Whole = limited("k", default=10, ge=1, description=ABOUT["k"])
    mode: Mode = Field("hybrid", description=f"{ABOUT['mode']}. A vector and a paper are searched by meaning")
    category: Filter | CategoryList = Field([], description=ABOUT["category"])
    since: Date | None = Field(None, description=ABOUT["since"])
    until: Date | None = Field(None, description=ABOUT["until"])
    author: Author | AuthorList = Field([], description=ABOUT["author"])
    sort: Sort = Field("score", description=ABOUT["sort"])
    facets: Whole = limited("k", default=0, ge=0, description=ABOUT["facets"])
    full: bool = Field(False, description=ABOUT["full"])

    @model_validator(mode="after")
    def _one_of(self) -> SearchBody:
        given = [name for name in ("query", "vector", "like") if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_of", "expected exactly one of query, vector and like", {"found": " and ".join(given) or "none"}
            )
        if self.query is None and "mode" in self.model_fields_set and self.mode != "dense":
            raise PydanticCustomError(
                "mode", "expected mode dense, or none, with {given}", {"given": given[0], "found": self.mode}
            )
        if self.like is None and "combine" in self.model_fields_set:
            raise PydanticCustomError(
                "combine", "expected combine with like alone", {"found": f"{self.combine} with {given[0]}"}
            )
        return self


class EmbeddingsBody(Body):
    """What OpenAI's clients send, and `role`."""

    input: Annotated[
        Text | TextList,
        BeforeValidator(_no_tokens),
        Field(description="A text, or a list of texts. Lists of tokens are refused"),
    ]
    model: Annotated[str, Field(min_length=1, max_length=MAX_ID)] = Field(
        "default", description="The name of the index's model (GET /v1/models), or default"
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or the base64 of little-endian float32"
    )
    dimensions: Annotated[Whole, Field(ge=1)] | None = Field(None, description="The index's own number, or none")
    user: Annotated[str, Field(max_length=MAX_ID)] | None = Field(None, description="Not used")
    role: Literal["query", "document"] = Field(
        "document", description="What the texts are to the model: some put another prompt before each"
    )
