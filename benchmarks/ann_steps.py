"""One step of `benchmarks.ann` in a process of its own, whose memory is then its own: prints one line of JSON.

    python -m benchmarks.ann_steps build|search|cold|hnsw FOLDER [JSON]

Memory is Linux's: anonymous pages are what the process has for itself; those of mapped files are shared with others,
and given back when they are short.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np

from benchmarks.ann_made import SHARES, K, Made, opened
from embedsearch.ann import AnnIndex, AnnKind, choose_kind, faiss_index
from embedsearch.ann.choice import plan_for
from embedsearch.ann.measuring import Probes
from embedsearch.scores import Float32, Mask, Rows, cosines
from embedsearch.store.generation import Ann
from embedsearch.store.manifest import describe

Figures = dict[str, Any]
MB = 1e6
FIRST_QUERIES = 20
SEARCH_WIDTHS = (16, 32, 48, 64, 96, 128, 192, 256, 512)


def build(folder: Path, *, kind: str | None, recall: float, memory: int | None) -> Figures:
    """The package's index, as it chooses and sets it."""
    made = opened(folder)
    vectors, n = made.vectors, made.vectors.n_rows
    plan = plan_for(AnnKind(kind) if kind else choose_kind(n), n, vectors.dim, memory=memory)
    probes = Probes(vectors=made.choosing, source="made like the vectors")
    start = time.perf_counter()
    with peak_of_own() as peak:
        built = faiss_index.build(made.ann, plan, vectors, probes=probes, recall=recall, memory=memory)
    seconds = time.perf_counter() - start
    ann = Ann(plan.kind.value, built.parameters, built.recall, describe(folder, made.ann))
    (folder / "ann.json").write_bytes(msgspec.json.encode(ann))
    index = " ".join([plan.kind.value, *(f"{name} {value:,}" for name, value in built.parameters.items())])
    missed = {"missed": built.missed} if built.missed else {}
    return {"index": index, "seconds": seconds, "peak_mb": peak[0], "file_mb": ann.file.size / MB} | missed


def search(folder: Path) -> Figures:
    """Recall, milliseconds and memory of one query at a time, re-scored from the stored vectors."""
    made = opened(folder)
    before = own_bytes()
    index = load(made)
    figures: Figures = {}
    for share in SHARES:
        figures |= measured(made, share, lambda query, mask: answer(made, index, query, mask))
    figures["own_mb"] = (own_bytes() - before + mapped_bytes(made.ann)) / MB
    figures["vectors_mb"] = mapped_bytes(folder / "vectors") / MB
    return figures


def cold(folder: Path) -> Figures:
    """What the first query of a process costs, and those after it. Whoever calls this has dropped the files from the
    page cache."""
    made = opened(folder)
    start, faults = time.perf_counter(), _reads()
    index = load(made)
    spent = [time.perf_counter() - start]
    for query in made.queries[: 1 + FIRST_QUERIES]:
        start = time.perf_counter()
        answer(made, index, query, None)
        spent.append(time.perf_counter() - start)
    opening, first, *others = (1e3 * seconds for seconds in spent)
    return {"open_ms": opening, "first_ms": first, "next_ms": float(np.median(others)), "reads": _reads() - faults}


def hnsw(folder: Path, *, recall: float) -> Figures:
    """FAISS HNSW32 over float32, as its defaults build it, with the narrowest search that reaches `recall`."""
    made, before = opened(folder), own_bytes()
    start = time.perf_counter()
    with peak_of_own() as peak:
        index = faiss.IndexHNSWFlat(made.vectors.dim, 32, faiss.METRIC_INNER_PRODUCT)
        for _, block in made.vectors.blocks():
            index.add(block)
    figures = {
        "seconds": time.perf_counter() - start,
        "peak_mb": peak[0],
        "file_mb": len(faiss.serialize_index(index)) / MB,
    }
    faiss.omp_set_num_threads(1)
    for width in SEARCH_WIDTHS:
        told = faiss.SearchParametersHNSW(efSearch=width)
        found = measured(made, 1.0, lambda query, _, told=told: index.search(query[None], K, params=told)[1][0])  # type: ignore[misc]
        if found["recall 1"] >= recall:
            break
    return figures | found | {"index": f"HNSW32, efSearch {width}", "own_mb": (own_bytes() - before) / MB}


def measured(made: Made, share: float, ask: Callable[[Float32, Mask | None], Rows]) -> Figures:
    """Recall of the exact ten with its standard error, and quantiles of the milliseconds of one query at the second
    time."""
    mask, shares, spent = made.allowed(share), [], []
    for _ in range(2):
        shares, spent = [], []
        for query, exact in zip(made.queries, made.exact[share], strict=True):
            start = time.perf_counter()
            rows = ask(query, mask)
            spent.append(1e3 * (time.perf_counter() - start))
            exact = exact[exact >= 0]
            shares.append(np.isin(exact, rows).mean() if len(exact) else 1.0)
    name = f"{share:g}"
    return {
        f"recall {name}": float(np.mean(shares)),
        f"error {name}": float(np.std(shares, ddof=1) / np.sqrt(len(shares))),
        f"p50 {name}": float(np.median(spent)),
        f"p99 {name}": float(np.percentile(spent, 99)),
    }


def load(made: Made) -> AnnIndex:
    """The index that `build` wrote, and the vectors mapped."""
    ann = msgspec.json.decode((made.folder / "ann.json").read_bytes(), type=Ann)
    made.vectors.open_all()
    return faiss_index.load(made.ann, ann)


def answer(made: Made, index: AnnIndex, query: Float32, mask: Mask | None) -> Rows:
    """The best ten, as a search finds them."""
    (rows,) = index.candidates(query[None], K, allowed=mask)
    scores = cosines(query, made.vectors.rows(rows))
    return rows[np.argsort(-scores, kind="stable")[:K]]


def own_bytes() -> int:
    """Anonymous pages that this process has in memory."""
    return 1024 * int(re.search(r"^Anonymous:\s*(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.M)[1])  # type: ignore[index]


def mapped_bytes(path: Path) -> int:
    """Pages of the files at or under `path` that this process has mapped and in memory."""
    there, n = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            there = line.partition("/")[2] != "" and ("/" + line.partition("/")[2]).startswith(str(path.resolve()))
        elif there and line.startswith("Rss:"):
            n += 1024 * int(line.split()[1])
    return n


@contextmanager
def peak_of_own() -> Iterator[list[float]]:
    """The most MB of anonymous pages that the process had more than at the beginning, looked at ten times a second."""
    before, most, stop = own_bytes(), [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            most[0] = max(most[0], (own_bytes() - before) / MB)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()
        most[0] = max(most[0], (own_bytes() - before) / MB)


def drop_from_cache(folder: Path) -> None:
    """Let the system forget what it has read of the files in `folder` that nobody has mapped (posix_fadvise)."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)  # pages that are not written yet stay
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def _reads() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


STEPS: dict[str, Callable[..., Figures]] = {"build": build, "search": search, "cold": cold, "hnsw": hnsw}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](Path(sys.argv[2]), **json.loads((sys.argv[3:] or ["{}"])[0]))))
