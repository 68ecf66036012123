"""Which queries are asked of the papers at hand."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from embedsearch.corpus import open_corpus, sample_path
from embedsearch.errors import OptionError, QueryError
from embedsearch.evaluate.entries import Papers
from embedsearch.evaluate.qrels import read_query_sets
from embedsearch.evaluate.queries import QuerySet, among, bundled_queries, sentence_queries, title_queries
from embedsearch.evaluate.series import series_queries

N_QUERIES = 500
FEWEST = 2
"""Queries of which an interval can be stated."""


class Task(Enum):
    """What is asked; the value is its name on the command line."""

    TITLE = "title"
    """A title must find its abstract, among abstracts without titles."""
    SENTENCE = "sentence"
    """A sentence must find its abstract, from which it was taken out."""
    SERIES = "series"
    """The title of a part of a series must find the abstracts of its other parts."""
    QRELS = "qrels"
    """Queries with judgments: of files, or the sample's own."""


def make_sets(
    papers: Papers,
    tasks: Sequence[Task] = (),
    *,
    n_queries: int = N_QUERIES,
    queries: Path | None = None,
    qrels: Path | None = None,
) -> tuple[list[QuerySet], list[str]]:
    """The queries of `tasks`, and notes on what could not be asked.

    Without tasks: those of the files, else titles, and of the bundled sample its own queries. At most `n_queries` of
    each kind that is made of papers. Raises QueryError where the files judge none of the papers, and where nothing can
    be asked; OptionError for judgments without queries.
    """
    if qrels is not None and queries is None:
        raise OptionError(f"expected the queries that {qrels} judges, found none: name them with --queries")
    chosen = tuple(dict.fromkeys(tasks)) or _usual(papers, queries)
    if queries is not None and Task.QRELS not in chosen:
        chosen = (*chosen, Task.QRELS)
    sets: list[QuerySet] = []
    notes: list[str] = []
    for task in chosen:
        made, said = _made(task, papers, n_queries, queries, qrels)
        notes += said
        for found in made:
            if len(found) >= FEWEST:
                sets.append(found)
            else:
                notes.append(f"{found.name}: left out, expected at least {FEWEST} such queries, found {len(found)}")
    if not sets:
        raise QueryError(f"expected queries to evaluate with, found none: {'; '.join(notes)}")
    return sets, notes


def is_sample(papers: Papers) -> bool:
    """Whether these are papers of the bundled sample."""
    return set(papers.ids) <= {paper.id for paper in open_corpus(sample_path())}


def _usual(papers: Papers, queries: Path | None) -> tuple[Task, ...]:
    if queries is not None:
        return (Task.QRELS,)
    return (Task.TITLE, Task.QRELS) if is_sample(papers) else (Task.TITLE,)


def _made(
    task: Task, papers: Papers, n: int, queries: Path | None, qrels: Path | None
) -> tuple[list[QuerySet], list[str]]:
    if task is Task.TITLE:
        return [title_queries(papers.by_hash(), n)], []
    if task is Task.SENTENCE:
        return [sentence_queries(papers.by_hash(), n)], []
    if task is Task.SERIES:
        return [series_queries(papers, n)], []
    if queries is None and not is_sample(papers):
        raise OptionError("expected --queries and --qrels beside --task qrels: only the sample has queries of its own")
    sets, notes = ([bundled_queries()], []) if queries is None else read_query_sets(queries, qrels)
    known = [among(found, papers.ids) for found in sets]
    if not any(len(found) for found, _ in known):
        judged = next((id for found in sets for query in found.queries for id in query.relevant), None)
        others = f"{judged!r} and the like" if judged else "none of a relevance above 0"
        raise QueryError(f"{qrels or queries}: expected judged papers such as {papers.ids[0]!r}, found {others}")
    return [found for found, _ in known], notes + [note for _, said in known for note in said]
