"""What flows through embedsearch: papers in, hits out. Frozen, and free of any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One paper as its corpus has it: LaTeX and line breaks are kept.

    Dates are ISO texts as precise as they are known: "2023", "2023-01" or "2023-01-15".
    The first of `categories` is the primary one. `authors` are names in the order of the paper,
    each as a reader writes it ("J. M. Muench"). `extra` holds columns that have no field here. One that
    is `deleted` is no paper any more: of such a one only the id counts.
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
    deleted: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One paper that answers a query.

    `score` is what the hits are ordered by, higher is better: the cosine, the BM25 or the hybrid of
    both, by mode. `cosine` is None where the paper has no vector yet. Title, abstract and authors are
    texts for people; `paper` has them as the corpus does. `sentence` is the sentence of the abstract
    that shares the rarest words with the query, None where it shares none. `like` is the id of the nearest of the
    papers that hits were to be like, None where one alone was asked for.
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
    like: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What the best `n_counted` papers are: how many have a category or a year, most first, then by name.

    A paper counts once in each of its categories; "" stands for an unknown year.
    """

    n_counted: int
    categories: tuple[tuple[str, int], ...]
    years: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The hits of one query, best first. `facets` is None unless it was asked for."""

    query: str
    mode: str
    hits: tuple[Hit, ...]
    facets: Facets | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTerm:
    """A rare word, or the name of an object, that two abstracts share, as one of them writes it.

    `n_papers` is how many papers of the corpus have it, None for the name of an object.
    """

    term: str
    n_papers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRecord:
    """Two papers as two spaces see them; what comes in twos is of the first and of the second space.

    `ids` are in their own order, `titles` (texts for people, None where no catalogue has them) in the order of `ids`.
    `closer` is "first" or "second": the space that finds the pair closer than the other does. `divergence` is by the
    measure of the list that the pair is in. `percentiles` are the percentages of all pairs whose cosine is below.
    `neighbour_ranks` has for each space the rank of the second paper among the neighbours of the first, and that of the
    first among those of the second: 1 is the nearest; equal cosines have equal ranks. `n_at_least` is how many pairs
    diverge at least as much; `n_expected` and `n_halves` how many would by chance: under a Gaussian copula of the same
    Spearman correlation, and of one model on two halves of each abstract. None is what was not computed.
    """

    rank: int
    ids: tuple[str, str]
    titles: tuple[str | None, str | None]
    closer: str
    divergence: float
    cosines: tuple[float, float]
    percentiles: tuple[float, float]
    neighbour_ranks: tuple[tuple[int, int], tuple[int, int]]
    terms: tuple[SharedTerm, ...] = ()
    n_at_least: int | None = None
    n_expected: float | None = None
    n_halves: float | None = None
