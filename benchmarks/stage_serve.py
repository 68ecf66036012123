"""Searches a second over HTTP under load, beside a server by hand and txtai's: benchmarks/serve.py as a stage."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks import environments, machine, peers, stores
from benchmarks.serve import Target, distinct_queries, load
from benchmarks.servers import server
from benchmarks.suite import Case, Floor, Setup, Stage, Work
from embedsearch import Searcher
from embedsearch.encoders import Role
from embedsearch.texts import Template

PASS = 64
"""Queries that an ideal server of 64 connections has at hand at once."""
OURS_AT = "/v1/search?k=10&mode={}&q={{}}"


def measure(stage: Stage, setup: Setup) -> None:
    """Run it. All servers are up all the time; the one that is asked shares the machine with wrk alone."""
    seconds, connections = (1, 8) if setup.quick else (10, PASS)
    folder = stores.store(setup)
    stored = stores.papers_of(folder)
    work = setup.work / "serve"
    work.mkdir(parents=True, exist_ok=True)
    papers = work / "papers.jsonl"
    texts = [{"id": one.paper.id, "abstract": Template.parse().render(one.paper)} for one in stored]
    papers.write_text("".join(json.dumps(text) + "\n" for text in texts))
    np.save(work / "plain.npy", stores.vectors_of(folder))  # the vectors that it would make itself, in minutes
    fresh = distinct_queries(stored)
    floor = Floor(
        encoder_rate(folder, [next(fresh) for _ in range((1 if setup.quick else 8) * PASS)]),
        f"the encoder alone, {PASS} a pass",
    )
    per_run = 1_000 if setup.quick else 4_000
    with ExitStack() as stack:

        def case(
            name: str, start: Callable[[], AbstractContextManager[str]], path: str, *, peers: tuple[str, ...] = ()
        ) -> Case:
            def prepare() -> Work:
                target = Target(name, "dense", stack.enter_context(start()), path)
                if not setup.quick:
                    _ask(target, [next(fresh) for _ in range(1_000)], work, 1, connections)
                return lambda: _ask(target, [next(fresh) for _ in range(per_run)], work, seconds, connections)

            return Case(name=name, unit="searches/s", more=True, prepare=prepare, ours=bool(peers), peers=peers,
                        floor=floor)  # fmt: skip

        def ours(*arguments: str) -> Callable[[], AbstractContextManager[str]]:
            return lambda: _ours(folder, work / "serve.log", *arguments)

        def theirs() -> AbstractContextManager[str]:
            return peers.txtai(environments.python_of("txtai", make=setup.peers), papers)

        both = by_hand, txtai = "FastAPI + sentence-transformers + FAISS", "txtai"
        by_meaning = OURS_AT.format("dense")
        cases = [case("embedsearch serve, by meaning", ours(), by_meaning, peers=both)]
        if setup.has_slow_peers:
            cases.insert(0, case(by_hand, lambda: peers.plain(sys.executable, papers), "/search?k=10&q={}"))
            cases.insert(1, case(txtai, theirs, "/search?limit=10&query={}"))
        if not setup.quick:
            cases.append(case("embedsearch serve --workers 2", ours("--workers", "2"), by_meaning, peers=both))
            cases.append(case("embedsearch serve, hybrid", ours(), OURS_AT.format("hybrid"), peers=both))
        stage.run(cases, rounds=setup.rounds)
    stage.notes.append(
        f"{connections} connections of wrk for {seconds} s a round; no query is asked twice. All by meaning but the"
        f" hybrid; the peers' models run in {machine.default_dtype()}, as ours does."
    )


def encoder_rate(folder: Path, queries: Sequence[str]) -> float:
    """Queries a second of the encoder by itself, in passes of 64: what no server of one process can exceed."""
    encoder = Searcher.open(folder).encoder
    encoder.encode(queries[:PASS], role=Role.QUERY)
    start = time.perf_counter()
    for first in range(0, len(queries), PASS):
        encoder.encode(queries[first : first + PASS], role=Role.QUERY)
    return len(queries) / (time.perf_counter() - start)


def _ask(target: Target, queries: Sequence[str], work: Path, seconds: int, connections: int) -> float:
    measured = load(target, queries, folder=work, seconds=seconds, connections=connections)
    if measured.errors:
        raise RuntimeError(f"expected good answers, found {measured.errors} errors in {measured.n}")
    return measured.rate


@contextmanager
def _ours(folder: Path, errors: Path, *arguments: str) -> Iterator[str]:
    """`embedsearch serve`, as its address."""
    with server(folder, "--log-format", "none", *arguments, errors=errors) as running:
        yield running.url
