"""What is measured before and after a contrastive training: what it is to make better, and what it must not make worse.

Dense and exact, with the encoder that a user would have. A title must find its abstract among the papers that were held
out. Against forgetting: questions in a user's words among the papers of the bundled sample, and titles and questions
of papers from other fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import open_corpus, sample_key, sample_path, sample_queries
from embedsearch.corpus.guards import guard_papers
from embedsearch.encoders import Encoder, Role
from embedsearch.measures import mean_interval
from embedsearch.records import Paper
from embedsearch.training.contrastive.pairs import abstract_of, title_of
from embedsearch.training.report import Measure
from embedsearch.training.split import SPLIT_SEED

Values = Mapping[str, NDArray[np.float64]]
"""By the name of a measure, its value for each query, (q,)."""

MOST_PAPERS = 2000
"""Held-out papers that are measured on: the same ones before and after, those of the smallest hash."""
BLOCK = 1024
"""Queries whose cosines with all documents are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Queries, and for each the positions of the documents that answer it."""

    name: str
    queries: tuple[str, ...]
    relevant: tuple[tuple[int, ...], ...]
    figures: tuple[str, ...] = ("MRR@10",)
    """Of FIGURES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Documents, and what is asked among them."""

    documents: tuple[str, ...]
    asked: tuple[Asked, ...]


FIGURES: dict[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]] = {
    "MRR@10": lambda ranks: np.where(ranks <= 10, 1 / ranks, 0.0),
    "recall@1": lambda ranks: (ranks <= 1).astype(np.float64),
    "recall@10": lambda ranks: (ranks <= 10).astype(np.float64),
}
"""Each query's value from the rank of its first relevant document; a recall is that of the one paper a title has."""


def held_out_trial(papers: Sequence[Paper]) -> Trial | None:
    """Do titles find their abstracts among those of `papers`, of which MOST_PAPERS are taken? None without titles."""
    kept = sorted(papers, key=lambda paper: sample_key(paper.id, SPLIT_SEED))[:MOST_PAPERS]
    kept = [paper for paper in kept if abstract_of(paper)]
    titled = [(title_of(paper), (i,)) for i, paper in enumerate(kept) if title_of(paper)]
    if not titled:
        return None
    queries, relevant = zip(*titled, strict=True)
    asked = Asked(name="held-out titles", queries=queries, relevant=relevant, figures=tuple(FIGURES))
    return Trial(documents=tuple(map(abstract_of, kept)), asked=(asked,))


def guards() -> list[Trial]:
    """What a training must not make worse, whatever its corpus."""
    papers = list(open_corpus(sample_path()))
    position = {paper.id: i for i, paper in enumerate(papers)}
    sample = Asked(
        name="queries in a user's words",
        queries=tuple(query.query for query in sample_queries()),
        relevant=tuple(tuple(position[id] for id in query.relevant) for query in sample_queries()),
    )
    others = guard_papers()
    own = tuple((i,) for i in range(len(others)))
    titles = Asked(name="other fields, titles", queries=tuple(paper.title for paper in others), relevant=own)
    questions = Asked(name="other fields, questions", queries=tuple(paper.query for paper in others), relevant=own)
    return [
        Trial(documents=tuple(map(abstract_of, papers)), asked=(sample,)),
        Trial(documents=tuple(paper.abstract for paper in others), asked=(titles, questions)),
    ]


def measure(encoder: Encoder, trials: Sequence[Trial], *, progress: Callable[[int], None] | None = None) -> Values:
    """Each measure's value for each of its queries; `progress(n_texts)` is told of texts as they are encoded."""

    def tell(n_texts: int, _n_tokens: int) -> None:
        if progress is not None:
            progress(n_texts)

    def vectors(texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        return encoder.encode_counted(texts, role=role, progress=tell).vectors

    values: dict[str, NDArray[np.float64]] = {}
    for trial in trials:
        documents = vectors(trial.documents, Role.DOCUMENT)
        for asked in trial.asked:
            ranks = first_ranks(vectors(asked.queries, Role.QUERY), documents, asked.relevant)
            values |= {f"{asked.name}: {figure}": FIGURES[figure](ranks) for figure in asked.figures}
    return values


def n_texts(trials: Sequence[Trial]) -> int:
    """How many texts `measure` encodes."""
    return sum(len(trial.documents) + sum(len(asked.queries) for asked in trial.asked) for trial in trials)


def first_ranks(
    queries: NDArray[np.float32], documents: NDArray[np.float32], relevant: Sequence[tuple[int, ...]]
) -> NDArray[np.int64]:
    """The rank, from 1, of each query's first relevant document by cosine, (q,) int64; equal cosines stand before it.

    `queries` (q, d) and `documents` (n, d) are of unit length; cosines are summed in float64, rounded to float32.
    """
    ranks = np.zeros(len(queries), np.int64)
    wide = documents.astype(np.float64).T
    for start in range(0, len(queries), BLOCK):
        cosines = (queries[start : start + BLOCK].astype(np.float64) @ wide).astype(np.float32)
        for row, right in zip(cosines, relevant[start : start + BLOCK], strict=True):
            best = row[list(right)].max()
            # The other relevant ones do not stand in its way.
            ranks[start] = 1 + int((row >= best).sum()) - int((row[list(right)] >= best).sum())
            start += 1
    return ranks


def compare(before: Values, after: Values) -> list[Measure]:
    """Each measure before and after, with the interval of the paired difference over queries (bootstrap)."""
    return [
        Measure(
            name,
            float(values.mean()),
            float(after[name].mean()),
            mean_interval(after[name] - values) if len(values) > 1 else None,
        )
        for name, values in before.items()
    ]


def fallen(measures: Sequence[Measure]) -> list[str]:
    """A line for each measure that fell by more than chance: the interval of its difference lies below 0."""
    return [
        f"{m.name} got worse: {m.before:.3f} before, {m.after:.3f} after, difference {m.difference}; "
        "try a smaller --mix or --learning-rate"
        for m in measures
        if m.difference is not None and m.difference.high < 0
    ]
