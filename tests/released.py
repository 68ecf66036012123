"""What a store answers, by what every release has had: make.sh notes it by the release, a test compares.

python released.py STORE prints it as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import embedsearch
from embedsearch.search import Mode, Searcher

QUERIES = ("star", "magnetized plasma", "dust and gas in galaxies", '"dark matter"')


def answers(folder: str | Path) -> dict[str, Any]:
    """The keyword hits of QUERIES; of a complete store, the papers nearest to a random vector and to each paper."""
    searcher = Searcher.open(folder)
    generation = searcher.generation
    found: dict[str, Any] = {
        "generation": generation.number,
        "n_papers": generation.n_papers,
        "complete": generation.complete,
        "keyword": {query: hits(searcher.search(query, k=5, mode=Mode.KEYWORD)) for query in QUERIES},
    }
    if generation.complete:
        found["vector"] = hits(searcher.search_vector(_random_vector(_dim(generation)), k=20))
        found["similar"] = {id: hits(searcher.similar_to(id, k=5)) for id in _ids(generation.n_papers)}
    return found


def hits(result: Any) -> list[list[Any]]:
    """[id, score] of each; a float32 in as many digits as tell it from others."""
    return [[hit.id, float(f"{hit.score:.9g}")] for hit in result.hits]


def _dim(generation: Any) -> int:
    kind, _, dim = (generation.transform or "").partition(":")
    return int(dim) if kind in ("whiten", "truncate") else int(generation.dim)


def _random_vector(dim: int) -> Any:
    """The same one in every release, (dim,) float32, of length 1."""
    vector = np.random.default_rng(8).normal(size=dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def _ids(n: int) -> list[str]:
    """Of the first papers of the sample that the release brings along."""
    sample = Path(embedsearch.__file__).parent / "corpus" / "sample.jsonl"
    return [json.loads(line)["id"] for line in sample.read_text(encoding="utf-8").splitlines()[:n]]


if __name__ == "__main__":
    print(json.dumps(answers(sys.argv[1])))
