"""How long a query takes among very many papers, by words and by words and meaning, without the encoder.

    python -m benchmarks.scale [--like INDEX] [--papers 300000] [--queries 1000] [--rounds 1] [--work FOLDER]

Makes a corpus of real sentences with vectors (benchmarks.scale_corpus) and its index by the ordinary build, or finds
them in the work folder, and asks the titles of real papers and pairs of words out of such titles, one at a time. Their
vectors are made beforehand. Prints what the build took by stage, and median and 99th percentile of the latencies by
stage of a query. `--like` is an index of real papers with its model, else one is made.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import environments, stores
from benchmarks.__main__ import parse, setup_of
from benchmarks.scale_corpus import Parts
from embedsearch import BuildOptions, Searcher, build_index
from embedsearch.encoders import Role
from embedsearch.scores import Float32
from embedsearch.search import Mode
from embedsearch.stages.options import Step
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.manifest import read_manifest

SEED = 0
K = 10
STAGES = ("search", "catalogue")


def index_of(like: Path, folder: Path, n_papers: int) -> Path:
    """The index of `n_papers` in `folder`, made if it is not there; what it took is in timings.json beside it."""
    index = folder / "index"
    if not (folder / "timings.json").exists():
        start = time.perf_counter()
        parts = Parts.of(stores.papers_of(like), stores.vectors_of(like), seed=SEED)
        corpus, vectors = parts.write(folder, n_papers)
        spent = {"making the corpus": time.perf_counter() - start}
        clock = _Clock()
        options = BuildOptions(overwrite=True)
        build_index(corpus, index, vectors=vectors, model="minilm", options=options, progress=clock)
        (folder / "timings.json").write_text(json.dumps(spent | clock.spent()))
    return index


class _Clock:
    """Seconds from the first step of a stage to the first of the next."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}

    def __call__(self, step: Step) -> None:
        self._begun.setdefault(step.stage.value, time.perf_counter())

    def spent(self) -> dict[str, float]:
        """By stage, until now."""
        ends = [*list(self._begun.values())[1:], time.perf_counter()]
        return {name: end - begin for (name, begin), end in zip(self._begun.items(), ends, strict=True)}


def queries_of(papers: Sequence[StoredPaper], n: int) -> dict[str, list[str]]:
    """`n` titles of real papers, and as many pairs of words that stand in one title."""
    chance = random.Random(SEED)
    words = [list(dict.fromkeys(word for word in paper.title.split() if word.isalpha())) for paper in papers]
    several = [row for row, found in enumerate(words) if len(found) > 1]
    titles = [papers[row].title for row in chance.sample(range(len(papers)), min(n, len(papers)))]
    return {
        "title": titles,
        "two words": [" ".join(chance.sample(words[row], 2)) for row in chance.choices(several, k=n)],
    }


def vectors_of(asked: Mapping[str, Sequence[str]], searcher: Searcher, kept: Path) -> dict[str, Float32]:
    """What the encoder makes of each query, once for all runs."""
    texts = sorted({text for queries in asked.values() for text in searcher.to_encode(queries)})
    if kept.exists():
        with np.load(kept) as arrays:
            if arrays["texts"].tolist() == texts:
                return dict(zip(texts, arrays["vectors"], strict=True))
    made = searcher.encoder.encode(texts, role=Role.QUERY)
    np.savez(kept, texts=np.array(texts), vectors=made)
    return dict(zip(texts, made, strict=True))


def latencies(searcher: Searcher, spent: dict[str, float], queries: Sequence[str], mode: Mode,
              vectors: Mapping[str, Float32]) -> dict[str, list[float]]:  # fmt: skip
    """Milliseconds of each query, by stage and as a whole. `spent` is where the searcher's stages are summed up."""
    found = defaultdict[str, list[float]](list)
    for query in queries:
        spent.clear()
        start = time.perf_counter()
        searcher.search(query, k=K, mode=mode, vectors=vectors)
        found["whole"].append(1000 * (time.perf_counter() - start))
        for stage in STAGES:
            found[stage].append(1000 * spent.get(stage, 0.0))
    return found


def measure(index: Path, asked: Mapping[str, Sequence[str]], kept: Path, *, rounds: int) -> None:
    """Print the table: medians of the rounds' percentiles."""
    spent = dict[str, float]()
    searcher = Searcher.open(index, observe=lambda stage, seconds: spent.update({stage: seconds}))
    vectors = vectors_of(asked, searcher, kept)
    searcher.warm_up()
    figures = defaultdict[tuple[str, str, str], list[tuple[float, float]]](list)
    for _ in range(rounds):
        for mode in Mode:
            for kind, queries in asked.items():
                for stage, times in latencies(searcher, spent, queries, mode, vectors).items():
                    p50, p99 = np.percentile(times, (50, 99)).tolist()
                    figures[mode.value, kind, stage].append((p50, p99))
    print("| mode | queries | stage | p50, ms | p99, ms |\n|---|---|---|---|---|")
    for names, values in figures.items():
        p50, p99 = np.median(values, axis=0)
        print(f"| {' | '.join(names)} | {p50:.2f} | {p99:.2f} |")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", type=Path, metavar="INDEX")
    parser.add_argument("--papers", type=int, default=300_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=environments.work(), metavar="FOLDER")
    options = parser.parse_args()
    like = options.like or _real(options.work)
    folder = options.work / f"scale-{options.papers}"
    index = index_of(like, folder, options.papers)
    size = sum(file.stat().st_size for file in index.rglob("*") if file.is_file()) / 1e9
    print(f"{read_manifest(index).serving.n_papers:,} papers, the index has {size:.1f} GB")
    for stage, seconds in json.loads((folder / "timings.json").read_text()).items():
        print(f"{stage}: {seconds:,.0f} s, {options.papers / seconds:,.0f} papers/s")
    asked = queries_of(stores.papers_of(like), options.queries)
    measure(index, asked, folder / "queries.npz", rounds=options.rounds)


def _real(work: Path) -> Path:
    """The index that the other benchmarks make."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        return stores.store(setup_of(parse(["all", "--work", str(work)]), stack))


if __name__ == "__main__":
    main()
