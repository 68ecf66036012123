"""All pairs of two spaces counted, beside plain NumPy.

    python -m benchmarks.pairs [--papers 10000] [--dims 384 1536] [--rounds 3] [--peer PYTHON]
    python -m benchmarks.pairs --synthetic 100000
    python -m benchmarks.pairs --moments 1000000

The first line's two settings in turn, round by round, each in a fresh process that reports its seconds and how far its
memory peaked above imports and inputs; medians, and the ratio. `plain` is what one writes without thinking of blocks:
`A @ A.T` of each space, the upper triangle, `histogram2d`. Compiled loops are compiled beforehand; what that takes the
first time is said apart. The limits are measured by themselves: the products alone in the same blocks against a large
product's rate, the counting alone against adding one at random places of tables of those sizes.

`--peer` names a Python that has embeddings-evaluator, whose `cosine` distribution of each space is the nearest thing
(it makes no joint distribution).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def spaces_of(n: int, dims: list[int], seed: int = 0) -> list[Rows]:
    """Unit rows with a common direction and a falling spectrum, so that cosines spread as a model's do."""
    rng = np.random.default_rng(seed)
    papers = rng.standard_normal((n, min(dims)), np.float32)
    spaces = []
    for dim in dims:
        rows = rng.standard_normal((n, dim), np.float32)
        rows[:, : min(dims)] += papers
        rows *= np.arange(1, dim + 1, dtype=np.float32) ** -0.5
        rows[:, 0] += 2
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        spaces.append(rows)
    return spaces


def peak_mb() -> float:
    """The most memory that this process has held; `clear_refs` sets it back to what it holds."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Seconds, and MB above what was held before."""
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before, start = peak_mb(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start, "mb": peak_mb() - before}


def plain(spaces: list[Rows]) -> object:
    """NumPy alone, as in a notebook."""
    above = np.triu_indices(len(spaces[0]), 1)
    cosines = [(rows @ rows.T)[above] for rows in spaces]
    return np.histogram2d(*cosines, bins=1000)


def peer(spaces: list[Rows]) -> object:
    """embeddings-evaluator: all cosines of each space."""
    from embeddings_evaluator.metrics import pairwise_similarities

    return [np.histogram(pairwise_similarities(rows), bins=1000) for rows in spaces]


def child(name: str, n: int, dims: list[int]) -> dict[str, float]:
    """What a fresh process does."""
    spaces = spaces_of(n, dims)
    small = [rows[:200].copy() for rows in spaces]
    if name in ("plain", "peer"):
        work = plain if name == "plain" else peer
        work(small)
        return measured(lambda: work(spaces))
    from embedsearch.pairs.scan import scan_pairs

    fast = name == "ours, fast"
    start = time.perf_counter()
    scan_pairs(small, fast=fast)
    first = time.perf_counter() - start
    return measured(lambda: scan_pairs(spaces, fast=fast)) | {"first": first}


def in_child(name: str, options: argparse.Namespace, python: str = sys.executable) -> dict[str, float]:
    """Run `child` in a fresh process, with BLAS left to find the processor by itself."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    arguments = ["--child", name, "--papers", str(options.papers), "--dims", *map(str, options.dims)]
    command = [python, os.path.abspath(__file__), *arguments]
    environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(options: argparse.Namespace) -> None:
    """The table of settings, then the parts."""
    names = ["plain", "ours", "ours, fast"] + (["peer"] if options.peer else [])
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            runs[name].append(in_child(name, options, options.peer if name == "peer" else sys.executable))
    n = options.papers
    print(f"{n:,} papers, {n * (n - 1) // 2:,} pairs, dims {options.dims}; medians of {options.rounds}\n")
    print("| setting | seconds | times as fast as plain | MB above imports and inputs |\n|---|---|---|---|")
    base = statistics.median(run["seconds"] for run in runs["plain"])
    for name, results in runs.items():
        seconds = statistics.median(run["seconds"] for run in results)
        ratio = statistics.median(p["seconds"] / r["seconds"] for p, r in zip(runs["plain"], results, strict=True))
        print(f"| {name} | {seconds:.2f} | {ratio:.1f} | {max(run['mb'] for run in results):.0f} |")
    print(f"\nplain took {base:.2f} s; loading and first use, compiled before: {runs['ours'][-1]['first']:.1f} s")
    parts(options)


def parts(options: argparse.Namespace) -> None:
    """Products and counting by themselves, against what the machine can do."""
    from benchmarks.machine import best  # here: a peer's environment, which runs this file too, has no torch
    from embedsearch.pairs.engine import CpuEngine, blocks

    spaces = spaces_of(options.papers, options.dims)
    engine = CpuEngine(spaces)
    places = list(blocks(options.papers, engine.side))
    products = best(lambda: [engine.load(*place) for place in places], 3)
    operations = sum(2 * (b - t) * (r - left) * dim for t, b, left, r in places for dim in options.dims)
    a, b = (np.ones((4096, 1536), np.float32), np.ones((1536, 4096), np.float32))
    rate = 2 * 4096 * 4096 * 1536 / best(lambda: a @ b, 5)
    print(f"products alone: {products:.2f} s, {operations / products / 1e9:.0f} GFLOP/s; "
          f"a large product reaches {rate / 1e9:.0f}, so at least {operations / rate:.2f} s")  # fmt: skip
    engine.load(0, engine.side, engine.side, 2 * engine.side)
    tables = np.array([2.0**16] * len(spaces)), np.full(len(spaces), -(2**16)), np.full(len(spaces), 2**17 + 1)
    cells = np.array([2.0**10] * len(spaces)), np.full(len(spaces), -(2**10)), np.full(len(spaces), 2**11 + 1)
    engine.open(*tables, cells)
    pairs = options.papers * (options.papers - 1) / 2 / engine.side**2
    measure, count = best(engine.measure, 9) * pairs, best(engine.count, 9) * pairs
    print(f"counting alone: {measure + count:.2f} s (range and sums {measure:.2f}, tables {count:.2f})")
    print(
        f"adding one at random, twice in 65,536 and once in 1,024 x 1,024 places: {random_adding(options.papers):.2f} s"
    )


def random_adding(n: int) -> float:
    """Seconds, on two threads, of as many additions as the tables of two spaces get, without anything else."""
    from concurrent.futures import ThreadPoolExecutor

    import numba

    from benchmarks.machine import best

    @numba.njit(nogil=True)
    def add(places, table):  # type: ignore[no-untyped-def]
        for i in range(places.size):
            table[places[i]] += np.uint32(1)

    rng = np.random.default_rng(0)
    n_places = 1 << 20
    # Normal over eight standard deviations, as cosines are
    one = np.clip(rng.normal(0.5, 1 / 8, n_places), 0, 0.999)
    other = np.clip(rng.normal(0.5, 1 / 8, n_places), 0, 0.999)
    jobs = [(one * 65536).astype(np.uint32), (other * 65536).astype(np.uint32)]
    jobs.append((one * 1024).astype(np.uint32) * np.uint32(1024) + (other * 1024).astype(np.uint32))

    def work(_: int) -> None:
        for places, table in zip(jobs, [np.zeros(size, np.uint32) for size in (65536, 65536, 1 << 20)], strict=True):
            add(places, table)

    work(0)
    with ThreadPoolExecutor(2) as pool:
        seconds = best(lambda: list(pool.map(work, range(2))), 5)
    return seconds / (2 * n_places) * (n * (n - 1) / 2)


def synthetic(options: argparse.Namespace) -> None:
    """Many papers: seconds and memory, and what 300,000 would take at this rate."""
    from embedsearch.pairs.scan import scan_pairs

    n = options.synthetic
    spaces = spaces_of(n, options.dims)
    scan_pairs([rows[:200].copy() for rows in spaces])
    last = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 30:
            last = time.monotonic()
            print(f"{done / total:.0%}", file=sys.stderr)

    result = measured(lambda: scan_pairs(spaces, progress=say))
    n_pairs = n * (n - 1) // 2
    print(f"{n:,} papers, {n_pairs:,} pairs, dims {options.dims}: {result['seconds']:.0f} s, "
          f"{result['mb']:.0f} MB above imports and inputs")  # fmt: skip
    print(f"300,000 papers at this rate: {result['seconds'] * 300_000 * 299_999 / 2 / n_pairs / 60:.0f} min")


def many_moments(options: argparse.Namespace) -> None:
    """Mean, sd, Pearson and CKA of a million papers, from blocks that are made as they are asked for."""
    from embedsearch.pairs.moments import cka, moments

    def blocks_of(seed: int) -> Callable[[], object]:
        made = spaces_of(65536, [options.dims[0]], seed)[0]

        def blocks() -> object:
            for first in range(0, options.moments, 4096):
                start = first % 65536
                yield first, made[start : start + min(4096, options.moments - first)]

        return blocks

    a, b = blocks_of(0), blocks_of(1)
    for name, work in (("mean and sd", lambda: moments(a)), ("CKA of two spaces", lambda: cka(a, b))):
        result = measured(work)
        print(f"{name}, {options.moments:,} papers, {options.dims[0]}-d: {result['seconds']:.1f} s, "
              f"{result['mb']:.0f} MB above imports and inputs")  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", type=int, default=10_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[384, 1536])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--synthetic", type=int, metavar="N")
    parser.add_argument("--moments", type=int, metavar="N")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.papers, options.dims)))
    elif options.synthetic:
        synthetic(options)
    elif options.moments:
        many_moments(options)
    else:
        from embedsearch.pairs.engine import SIDE

        if options.papers < 2 * SIDE:
            parser.error(f"expected at least {2 * SIDE:,} papers, two blocks of rows, found {options.papers:,}")
        compare(options)


if __name__ == "__main__":
    main()
