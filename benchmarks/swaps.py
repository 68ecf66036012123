"""The swap proof: clients ask without a pause while the index is replaced again and again; no request may fail.

    python -m benchmarks.swaps [--corpus papers.jsonl] [--requests 20000] [--swaps 20] [--workers 1]

Half of the swaps are new generations in place (`embedsearch build-index --overwrite`), half are renames: the folder is
moved away and another takes its name, so that for a moment there is none. A request fails by any status but 200 (or 404
for a paper that its generation lacks), by any error of the connection, or by an answer that does not fit the generation
in its header: see servers.py. Exits with 1 if any failed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.clients import Load, Running, Seen, clients, quantiles
from benchmarks.servers import Server, Stores, server

DURING = 2.0
"""Seconds after a change in which a request counts as made during the swap."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One replacement: when the new one was in its place, and after how long it first answered."""

    kind: str
    at: float
    seconds: float


def main() -> int:
    """Run the proof; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="default: the bundled sample")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="of clients")
    parser.add_argument("--threads", type=int, default=4, help="of each of them")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="embedsearch-swaps-") as name:
        folder = Path(name)
        stores = Stores(folder, corpus=asked.corpus, model=asked.model)
        index = folder / "index"
        stores.build(index, number=1)
        arguments = ("--workers", str(asked.workers), "--log-format", "none")
        with server(index, *arguments, errors=folder / "errors.txt") as running:
            load = Load(url=running.url, papers=stores.papers, n_processes=asked.processes, n_threads=asked.threads)
            with clients(load) as work:
                swaps = _swap_on(asked.swaps, asked.requests, stores, index, running, work)
        messages = (folder / "errors.txt").read_text()
    failed = _report(work.seen, swaps, asked.workers)
    if failed:
        print("\nThe server's messages:\n" + messages[-4000:])
    return int(failed > 0 or len(work.seen) < asked.requests)


def _swap_on(n: int, n_requests: int, stores: Stores, index: Path, running: Server, work: Running) -> list[Swap]:
    """Swap n times, spread over the requests."""
    swaps = []
    for number in range(2, n + 2):
        _wait_for(work, n_requests * (number - 1) // (n + 1))
        kind = "in place" if number % 2 == 0 else "renamed"
        at = _in_place(stores, index, number) if kind == "in place" else _renamed(stores, index, number)
        swaps.append(Swap(kind, at, _until_seen(running.url, number) - at))
        print(f"swap {number - 1}: {kind}, seen after {swaps[-1].seconds:.2f} s", file=sys.stderr)
    _wait_for(work, n_requests)
    return swaps


def _wait_for(work: Running, n_requests: int) -> None:
    while work.count.value < n_requests:
        time.sleep(0.02)


def _in_place(stores: Stores, index: Path, number: int) -> float:
    stores.build(index, number=number)
    return time.time()


def _renamed(stores: Stores, index: Path, number: int) -> float:
    """The new one is made of a copy, so that its number goes on; the old one is removed when its turn comes again."""
    beside, before = index.with_name("next"), index.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(index, beside)
    stores.build(beside, number=number)
    index.rename(before)
    beside.rename(index)
    return time.time()


def _until_seen(url: str, number: int, *, seconds: float = 60) -> float:
    """The time at which an answer first comes from the generation of this number."""
    end = time.time() + seconds
    while time.time() < end:
        query = {"q": "dust", "mode": "keyword", "k": 1}
        answer = httpx.get(f"{url}/v1/search", params=query, timeout=60, trust_env=False)
        if answer.headers.get("X-Index-Generation") == str(number):
            return time.time()
        time.sleep(0.01)
    raise SystemExit(f"generation {number} was not served within {seconds:.0f} s")


def _report(seen: list[Seen], swaps: list[Swap], n_workers: int) -> int:
    """Print the table; how many requests failed."""
    wrong = Counter(one.wrong for one in seen if one.wrong)
    ends = [(swap.at - 0.5, swap.at + max(DURING, swap.seconds)) for swap in swaps]
    during = [one for one in seen if any(first <= one.at <= last for first, last in ends)]
    outside = [one for one in seen if not any(first <= one.at <= last for first, last in ends)]
    spent = seen[-1].at - seen[0].at
    print(f"{len(seen):,} requests in {spent:.0f} s, {len(swaps)} swaps, workers: {n_workers}")
    for kind in ("in place", "renamed"):
        times = [swap.seconds for swap in swaps if swap.kind == kind]
        if times:
            print(f"  {len(times)} {kind}: served after {min(times):.2f} to {max(times):.2f} s")
    print(f"  failed: {sum(wrong.values())}" + "".join(f"; {what}: {n}" for what, n in wrong.most_common()))
    print(f"  latency while swapping ({len(during):,} requests): {quantiles(during)}")
    print(f"  latency otherwise ({len(outside):,} requests): {quantiles(outside)}")
    return sum(wrong.values())


if __name__ == "__main__":
    sys.exit(main())
