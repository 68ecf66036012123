"""How well does a store find what it is asked for, by each mode and hybrid weight?

    python -m benchmarks.retrieval --index indexes/real [--titles 2000] [--queries benchmarks/user_queries.jsonl]

Two kinds of query, each with known answers:

- titles against abstracts: a paper's title must find its abstract. The keyword index is made anew without titles, since
  a title would find itself. Of the papers, `--titles` with the smallest hash.
- questions in a user's words, written from abstracts in other words than theirs, against titles and abstracts.

Either set is halved by hash: the weight is chosen on one half, the figures are of the other. All scores are those
of all papers, so that no index has a part in them. Intervals are 95 %, by bootstrap over queries.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedsearch import Searcher, keywords, open_encoder
from embedsearch.corpus import sample_key
from embedsearch.encoders import ModelSpec, Recipe, Role
from embedsearch.keywords import KeywordQuery, Keywords, clean
from embedsearch.measures import Interval, mean_interval
from embedsearch.scores import Float32
from embedsearch.search import HYBRID_WEIGHT
from embedsearch.store.catalogue import Catalogue, StoredPaper
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import open_vectors
from embedsearch.transform import TransformSpec, fit

WEIGHTS = [round(0.1 * i, 1) for i in range(11)]


@dataclass(frozen=True)
class Asked:
    """Queries with the row of the one paper that answers each, and the scores of all papers: (q, n) float32 each."""

    rows: NDArray[np.int64]
    cosine: Float32
    bm25: Float32

    def half(self, which: int, ids: Sequence[str]) -> Asked:
        """The queries whose paper's hash is even or odd."""
        keep = np.array([sample_key(ids[row], 1) % 2 == which for row in self.rows])
        return Asked(self.rows[keep], self.cosine[keep], self.bm25[keep])

    def ranks(self, weight: float) -> NDArray[np.int64]:
        """Rank of the right paper for each query, from 1; ties count against it."""
        best = self.bm25.max(axis=1, keepdims=True)
        share = np.divide(self.bm25, best, out=np.zeros_like(self.bm25), where=best > 0)
        scores = weight * self.cosine + (1 - weight) * share
        right = scores[np.arange(len(self.rows)), self.rows][:, None]
        ranks: NDArray[np.int64] = (scores > right).sum(axis=1) + (scores == right).sum(axis=1)
        return ranks


def mrr(ranks: NDArray[np.int64]) -> Interval:
    """MRR@10."""
    return mean_interval(np.where(ranks <= 10, 1 / ranks, 0.0))


def recall(ranks: NDArray[np.int64]) -> Interval:
    """Recall@10."""
    return mean_interval(ranks <= 10)


class Bench:
    """A store and its encoder."""

    def __init__(self, index: Path, *, fitted: str | None) -> None:
        self.generation = read_manifest(index).serving
        self.folder = index
        self.catalogue = Catalogue(index / self.generation.papers.name)
        self.ids = self.catalogue.ids()
        self.vectors = open_vectors(index, self.generation)
        self.transform = fitted or self.generation.transform
        if fitted:
            self.vectors.transform = fit(TransformSpec.parse(fitted), self.vectors.blocks(), dim=self.vectors.dim)
        spec = ModelSpec.from_dict(self.generation.model)
        self.encoder = open_encoder(spec, expected=Recipe.from_dict(self.generation.recipe))

    def papers(self) -> Iterator[StoredPaper]:
        """All papers by row."""
        return self.catalogue.span(0, len(self.ids))

    def ask(self, queries: Sequence[str], rows: Sequence[int], words: Keywords) -> Asked:
        """Score every paper for every query."""
        n = len(self.ids)
        texts = [clean(query) for query in queries]
        encoded = self.encoder.encode(texts, role=Role.QUERY)
        if self.vectors.transform:
            encoded = self.vectors.transform.apply(encoded)
        cosine = np.concatenate([encoded @ block.T for _, block in self.vectors.blocks()], axis=1)
        bm25 = np.zeros((len(texts), n), np.float32)
        for i, text in enumerate(texts):
            found, scores = words.candidates(KeywordQuery.parse(text), n)
            bm25[i, found] = scores
        return Asked(np.array(rows), cosine, bm25)

    def titles(self, n: int) -> Asked:
        """Titles against a keyword index of abstracts alone."""
        rows = sorted(range(len(self.ids)), key=lambda row: sample_key(self.ids[row], 0))[:n]
        titles = {stored.row: stored.title for stored in self.catalogue.papers(np.array(rows))}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "keywords"
            keywords.build(
                folder,
                (
                    StoredPaper(row=p.row, paper=p.paper, title="", abstract=p.abstract, authors=p.authors)
                    for p in self.papers()
                ),
            )
            return self.ask([titles[row] for row in rows], rows, Keywords(folder))

    def users(self, path: Path, kind: str) -> Asked:
        """The questions of `kind` in a file, against the store's own keyword index."""
        asked = [json.loads(line) for line in path.read_text().splitlines()]
        row_of = {id: row for row, id in enumerate(self.ids)}
        here = [one for one in asked if one["kind"] == kind and one["relevant"][0] in row_of]
        words = Keywords((self.folder / self.generation.keywords[0].name).parent)
        return self.ask([one["query"] for one in here], [row_of[one["relevant"][0]] for one in here], words)


def choose(sets: dict[str, Asked], ids: Sequence[str]) -> None:
    """Print the curves on the halves that are for choosing, and the weight with the best mean of both."""
    print("\nMRR@10 by weight w of the cosine, on the queries to choose it:\n")
    print("| w | " + " | ".join(f"{w}" for w in WEIGHTS) + " |\n|" + "---|" * (len(WEIGHTS) + 1))
    total = np.zeros(len(WEIGHTS))
    for name, asked in sets.items():
        half = asked.half(0, ids)
        curve = [mrr(half.ranks(w)).mean for w in WEIGHTS]
        total += curve
        print(f"| {name} ({len(half.rows)}) | " + " | ".join(f"{value:.3f}" for value in curve) + " |")
    print(f"\nBest mean of both: w = {WEIGHTS[int(total.argmax())]}")


def report(asked: Asked, *, weight: float) -> None:
    """Print the three modes."""
    print("| mode | MRR@10 | recall@10 |\n|---|---|---|")
    for mode, w in (("dense", 1.0), ("keyword", 0.0), (f"hybrid, w = {weight}", weight)):
        ranks = asked.ranks(w)
        print(f"| {mode} | {mrr(ranks)} | {recall(ranks)} |")


def exact_titles(index: Path, bench: Bench, n: int) -> None:
    """How often a paper's exact title brings it first, in the store as users have it."""
    rows = sorted(range(len(bench.ids)), key=lambda row: sample_key(bench.ids[row], 0))[:n]
    papers = bench.catalogue.papers(np.array(rows))
    results = Searcher.open(index, encoder=bench.encoder).search([paper.title for paper in papers], k=1)
    first = [result.hits[0].id == paper.paper.id for result, paper in zip(results, papers, strict=True)]
    print(f"\n## exact titles, hybrid, the store as it is\n\n{sum(first)} of {len(first)} bring their paper first")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--titles", type=int, default=2000)
    parser.add_argument("--queries", type=Path, default=Path(__file__).parent / "user_queries.jsonl")
    parser.add_argument("--transform", help="to fit on the store's vectors and try")
    parser.add_argument("--weight", type=float, default=HYBRID_WEIGHT, help="of the hybrid that is shown")
    options = parser.parse_args()
    bench = Bench(options.index, fitted=options.transform)
    print(f"{len(bench.ids):,} papers, {bench.generation.model['name']}, transform {bench.transform}")
    sets = {"titles against abstracts": bench.titles(options.titles)}
    words = bench.users(options.queries, "words")
    if len(words.rows) > 50:  # a sample of the corpus has few of their papers
        sets["questions in a user's words"] = words
    choose(sets, bench.ids)
    for name, asked in sets.items():
        half = asked.half(1, bench.ids)
        print(f"\n## {name}: {len(half.rows)} queries that did not choose the weight\n")
        report(half, weight=options.weight)
    authors = bench.users(options.queries, "author")
    if len(authors.rows) > 5:
        print(f"\n## questions that name an author: {len(authors.rows)}\n")
        report(authors, weight=options.weight)
    if not options.transform:
        exact_titles(options.index, bench, options.titles)


if __name__ == "__main__":
    main()
