"""Queries whose answers are known: made of a corpus's own titles and sentences, or the sample's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from embedsearch.corpus import sample_key, sample_queries, to_text
from embedsearch.keywords import clean
from embedsearch.records import Paper
from embedsearch.sentences import sentences
from embedsearch.store.catalogue import StoredPaper

SHORTEST = 40
"""Characters of a sentence that is a query, and of what must be left of its abstract: less says little."""

_MARKS = str.maketrans(dict.fromkeys('"“”„«»', " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A text, and by id the papers that answer it with their gains, which are above 0. `left_out` must not be found."""

    id: str
    text: str
    relevant: Mapping[str, int]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySet:
    """Queries of one kind.

    `known_items`: they are made of papers, not asked by people. `titles` is whether the words of titles are searched as
    well. `changed` has, by id, the papers of which something is taken out, in vectors as in words.
    """

    name: str
    queries: tuple[Query, ...]
    known_items: bool = False
    titles: bool = True
    changed: Mapping[str, Paper] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries)


def title_queries(papers: Iterable[StoredPaper], n: int) -> QuerySet:
    """The titles of the first n of `papers` that have one; each must find its abstract, among abstracts alone."""
    queries: list[Query] = []
    for stored in papers:
        if len(queries) == n:
            break
        if text := plain(stored.title):
            queries.append(Query(id=stored.paper.id, text=text, relevant={stored.paper.id: 1}))
    return QuerySet(name="title", queries=tuple(queries), known_items=True, titles=False)


def sentence_queries(papers: Iterable[StoredPaper], n: int) -> QuerySet:
    """A sentence of each of the first n of `papers` that have several; each must find what is left of its abstract.

    It is chosen by the hash of the id. All of these papers lack their sentence for all of the queries: one corpus.
    """
    queries: list[Query] = []
    changed: dict[str, Paper] = {}
    for stored in papers:
        if len(queries) == n:
            break
        paper = stored.paper
        if (taken := _taken_out(paper)) is not None:
            text, rest = taken
            queries.append(Query(id=paper.id, text=text, relevant={paper.id: 1}))
            changed[paper.id] = replace(paper, abstract=rest)
    return QuerySet(name="sentence", queries=tuple(queries), known_items=True, changed=changed)


def _taken_out(paper: Paper) -> tuple[str, str] | None:
    """(a sentence for people, the abstract without it as the corpus has it)."""
    parts = sentences(" ".join(paper.abstract.split()))
    whole = sum(map(len, parts))
    usable = [i for i, part in enumerate(parts) if len(plain(part)) >= SHORTEST <= whole - len(part)]
    if not usable:
        return None
    chosen = usable[sample_key(paper.id, 1) % len(usable)]
    return plain(to_text(parts[chosen])), " ".join(part for i, part in enumerate(parts) if i != chosen)


def bundled_queries() -> QuerySet:
    """The sample's own."""
    queries = enumerate(sample_queries(), 1)
    return QuerySet(
        name="sample",
        queries=tuple(Query(id=str(i), text=q.query, relevant=dict.fromkeys(q.relevant, 1)) for i, q in queries),
    )


def plain(text: str) -> str:
    """A text as a query: without quotation marks, which would ask for a phrase."""
    return " ".join(clean(text).translate(_MARKS).split())


def among(found: QuerySet, ids: Collection[str]) -> tuple[QuerySet, list[str]]:
    """The queries that papers of `ids` answer, and what is to be said of the others."""
    known = ids if isinstance(ids, (set, frozenset, dict)) else set(ids)
    judged = [id for query in found.queries for id in query.relevant]
    n_unknown = sum(id not in known for id in judged)
    kept = tuple(_kept(found.queries, known))
    notes = []
    if n_unknown:
        notes.append(f"{found.name}: {n_unknown:,} of {len(judged):,} judged papers are not in the corpus")
    if len(kept) < len(found):
        notes.append(f"{found.name}: {len(found) - len(kept):,} of {len(found):,} queries have no answer in the corpus")
    return replace(found, queries=kept), notes


def _kept(queries: Iterable[Query], known: Collection[str]) -> Iterator[Query]:
    for query in queries:
        if relevant := {id: gain for id, gain in query.relevant.items() if id in known}:
            yield replace(query, relevant=relevant)
