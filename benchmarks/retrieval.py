"""How much should meaning weigh against words in the hybrid, and how often does an exact title bring its paper first?

    python -m benchmarks.retrieval --index indexes/real [--titles 2000] [--queries benchmarks/user_queries.jsonl]

What `embedsearch evaluate --choose-hybrid` does for one store, for the default of all: one weight for two sets of
queries, titles against abstracts and questions in a user's words, and a transform can be tried (`--transform`). Either
set is halved by hash: the weight is chosen on one half, the figures are of the other. Intervals are 95 %, by bootstrap
over queries.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from embedsearch import Searcher
from embedsearch.evaluate import Entry, Papers, Scored
from embedsearch.evaluate.measuring import measure
from embedsearch.evaluate.qrels import read_query_sets
from embedsearch.evaluate.queries import among, title_queries
from embedsearch.evaluate.scoring import Words, score
from embedsearch.measures import mean_interval
from embedsearch.search import HYBRID_WEIGHT, Mode
from embedsearch.transform import TransformSpec, fit

WEIGHTS = [round(0.1 * i, 1) for i in range(11)]


def mrr(scored: Scored, weight: float) -> float:
    """MRR@10 of the hybrid."""
    ranks = scored.ranks(Mode.HYBRID, weight)
    return float(np.where(ranks <= 10, 1 / ranks, 0.0).mean())


def choose(sets: dict[str, Scored]) -> None:
    """Print the curves on the halves that are for choosing, and the weight with the best mean of both."""
    print("\nMRR@10 by weight w of the cosine, on the queries to choose it:\n")
    print("| w | " + " | ".join(f"{w}" for w in WEIGHTS) + " |\n|" + "---|" * (len(WEIGHTS) + 1))
    total = np.zeros(len(WEIGHTS))
    for name, scored in sets.items():
        half = scored.half(0)
        curve = [mrr(half, w) for w in WEIGHTS]
        total += curve
        print(f"| {name} ({len(half)}) | " + " | ".join(f"{value:.3f}" for value in curve) + " |")
    print(f"\nBest mean of both: w = {WEIGHTS[int(total.argmax())]}")


def report(scored: Scored, *, weight: float) -> None:
    """Print the three modes."""
    print("| mode | MRR@10 | recall@10 |\n|---|---|---|")
    for mode in scored.modes:
        values = {name: mean_interval(each) for name, each in measure(scored, mode, weight=weight).items()}
        name = f"hybrid, w = {weight}" if mode is Mode.HYBRID else mode.value
        print(f"| {name} | {values['MRR@10']} | {values['recall@10']} |")


def questions(entry: Entry, papers: Papers, path: Path) -> dict[str, Scored]:
    """The questions of each kind in a file whose papers are here."""
    found = {}
    for asked in read_query_sets(path)[0]:
        kept, _ = among(asked, papers.ids)
        found[asked.name.partition(", ")[2]] = score(kept, entry, papers, papers.rows[0], words=None)
    return found


def exact_titles(index: Path, entry: Entry, papers: Papers, n: int) -> None:
    """How often a paper's exact title brings it first, in the store as users have it."""
    asked = title_queries(papers.by_hash(), n).queries
    searcher = Searcher.open(index, encoder=entry.encoder.of(entry.view.generation))
    results = searcher.search([query.text for query in asked], k=1)
    first = [result.hits[0].id == query.id for result, query in zip(results, asked, strict=True)]
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
    entry = Entry.open(options.index)
    if options.transform:
        vectors = entry.view.vectors
        vectors.transform = fit(TransformSpec.parse(options.transform), vectors.blocks(), dim=vectors.dim)
    papers, _ = Papers.common([entry])
    print(f"{len(papers):,} papers, {entry.name}, transform {options.transform or entry.view.generation.transform}")
    titles = title_queries(papers.by_hash(), options.titles)
    with Words(papers) as words:
        asked = score(titles, entry, papers, papers.rows[0], words=words.scores(titles))
    by_kind = questions(entry, papers, options.queries)
    sets = {"titles against abstracts": asked}
    if len(by_kind["words"]) > 50:  # a sample of the corpus has few of their papers
        sets["questions in a user's words"] = by_kind["words"]
    choose(sets)
    for name, scored in sets.items():
        half = scored.half(1)
        print(f"\n## {name}: {len(half)} queries that did not choose the weight\n")
        report(half, weight=options.weight)
    if len(by_kind["author"]) > 5:
        print(f"\n## questions that name an author: {len(by_kind['author'])}\n")
        report(by_kind["author"], weight=options.weight)
    if not options.transform:
        exact_titles(options.index, entry, papers, options.titles)


if __name__ == "__main__":
    main()
