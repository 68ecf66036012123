"""Clients in processes of their own, which ask a server without a pause and judge each answer."""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.synchronize import Event
from typing import Any

import httpx

from benchmarks.servers import LEFT_OUT, mark


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: when it ended (time.time), how long it took, and what was wrong with it ("" if nothing)."""

    at: float
    seconds: float
    wrong: str


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the clients do. `papers` as in Stores; `n_processes` times `n_threads` ask at once."""

    url: str
    papers: Sequence[dict[str, Any]]
    n_processes: int = 2
    n_threads: int = 4
    texts: float = 0.1
    """Share of the queries that are new to the server, so that its encoder runs."""
    pause: float = 0.0
    """Seconds between two requests of a thread."""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each paper, by its id."""
        return {paper["id"]: i for i, paper in enumerate(self.papers)}


@dataclass(slots=True)
class Running:
    """Clients at work."""

    stop: Event
    count: Any
    seen: list[Seen] = field(default_factory=list)


@contextmanager
def clients(load: Load) -> Iterator[Running]:
    """Ask from other processes until the block ends; then `seen` has every request."""
    context = multiprocessing.get_context("spawn")
    stop, count = context.Event(), context.Value("q", 0)
    results: Any = context.Queue()
    started = [
        context.Process(target=_client, args=(load, seed, stop, count, results)) for seed in range(load.n_processes)
    ]
    for process in started:
        process.start()
    running = Running(stop, count)
    try:
        yield running
    finally:
        stop.set()
        for _ in started:
            running.seen += results.get(timeout=120)
        for process in started:
            process.join()
        running.seen.sort(key=lambda seen: seen.at)


def _client(load: Load, seed: int, stop: Event, count: Any, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen: list[Seen] = []
    threads = [
        threading.Thread(target=_ask_on, args=(load, seed * 1000 + n, stop, count, seen)) for n in range(load.n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(seen)


def _ask_on(load: Load, seed: int, stop: Event, count: Any, seen: list[Seen]) -> None:
    choose = random.Random(seed)
    with httpx.Client(base_url=load.url, timeout=60, trust_env=False) as client:
        while not stop.is_set():
            start = time.perf_counter()
            try:
                wrong = _ask(client, load, choose)
            except httpx.TransportError as error:
                wrong = type(error).__name__
            seen.append(Seen(time.time(), time.perf_counter() - start, wrong))
            with count.get_lock():
                count.value += 1
            if wrong or load.pause:
                time.sleep(load.pause or 0.02)


def _ask(client: httpx.Client, load: Load, choose: random.Random) -> str:
    """Ask something at random; what is wrong with the answer."""
    number = choose.randrange(len(load.papers))
    paper = load.papers[number]
    abstract, kind = " ".join(paper["abstract"].split()), choose.random()
    if kind < load.texts:
        text = f"{abstract} {choose.randrange(10**9)}"
        answer = client.get("/v1/search", params={"q": text, "k": 5, "mode": "dense"})
    elif kind < 0.7:
        answer = client.post("/v1/search", json={"query": abstract, "k": 5})
    elif kind < 0.85:
        answer = client.get("/v1/search", params={"q": f'"{abstract[:100]}"', "k": 5, "mode": "keyword"})
    else:
        answer = client.get(f"/v1/papers/{paper['id']}/similar", params={"k": 5})
    if answer.status_code == 404 and kind >= 0.85:
        is_gone = number % LEFT_OUT == _number(answer) % LEFT_OUT if _number(answer) else True
        return "" if is_gone else "404 for a paper that is there"
    if answer.status_code != 200:
        return str(answer.status_code)
    return _misfit(answer, number, paper["id"] if kind < 0.7 else None, load)


def _number(answer: httpx.Response) -> int:
    return int(answer.headers.get("X-Index-Generation", 0))


def _misfit(answer: httpx.Response, asked: int, first: str | None, load: Load) -> str:
    """What in an answer does not fit the generation that its header names; `first` is what must come first."""
    hits, generation = answer.json()["hits"], _number(answer)
    if not generation:
        return "no generation in the header"
    if any(not hit["title"].endswith(mark(generation)) for hit in hits):
        return "a title of another generation"
    if any(load.numbers[hit["id"]] % LEFT_OUT == generation % LEFT_OUT for hit in hits):
        return "a paper that this generation lacks"
    is_there = asked % LEFT_OUT != generation % LEFT_OUT
    if first is not None and is_there and (not hits or hits[0]["id"] != first):
        return "another paper than the one whose abstract was asked for"
    return ""


def quantiles(seen: Sequence[Seen]) -> str:
    """Median, 99th percentile and maximum of the latencies in ms."""
    times = sorted(one.seconds * 1000 for one in seen)
    if not times:
        return "none"
    return f"p50 {times[len(times) // 2]:.0f}, p99 {times[int(len(times) * 0.99)]:.0f}, max {times[-1]:.0f} ms"
