"""What flows through embedsearch: papers in, hits out. Frozen, and free of any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One paper as its corpus has it: LaTeX and line breaks are kept.

    Dates are ISO texts as precise as they are known: "2023", "2023-01" or "2023-01-15".
    The first of `categories` is the primary one. `authors` are names in the order of the paper,
    each as a reader writes it ("J. M. Muench"). `extra` holds columns that have no field here.
    """

    id: str
    abstract: str
    title: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    published: str | None = None
    updated: str | None = None
    version: int | None = None
    doi: str | None = None
    journal_ref: str | None = None
    comments: str | None = None
    licence: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One paper that answers a query.

    `score` is what the hits are ordered by, higher is better: the cosine, the BM25 or the hybrid of
    both, by mode. `cosine` is None where the paper has no vector yet. Title, abstract and authors are
    texts for people; `paper` has them as the corpus does. `sentence` is the sentence of the abstract
    that shares the rarest words with the query, None where it shares none.
    """

    rank: int
    id: str
    score: float
    cosine: float | None
    title: str
    abstract: str
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    published: str | None
    sentence: str | None
    paper: Paper


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The hits of one query, best first."""

    query: str
    mode: str
    hits: tuple[Hit, ...]
