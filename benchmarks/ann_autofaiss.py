"""autofaiss, in an environment of its own: it wants an older NumPy and FAISS."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann_made import SHARES, opened
from benchmarks.environments import PeerMissing

SCRIPT = """
import json, os, re, sys, time
import faiss, numpy as np
from autofaiss import build_index
told = json.load(open(sys.argv[1]))
def own():
    return 1024 * int(re.search(r"^Anonymous:\\s*(\\d+)", open("/proc/self/smaps_rollup").read(), re.M)[1])
start = time.perf_counter()
build_index(embeddings=told["vectors"], index_path=told["index"], index_infos_path=told["index"] + ".json",
            metric_type="ip", nb_cores=told["cores"], current_memory_available="16G",
            max_index_memory_usage="4G", verbose=40)
seconds = time.perf_counter() - start
before = own()
index = faiss.read_index(told["index"])
queries, exact = np.load(told["queries"]), np.load(told["exact"])
faiss.omp_set_num_threads(1)
def measured():
    for _ in range(2):
        spent, shares = [], []
        for query, true in zip(queries, exact):
            start = time.perf_counter()
            rows = index.search(query[None], 10)[1][0]
            spent.append(1e3 * (time.perf_counter() - start))
            shares.append(np.isin(true, rows).mean())
    return {"recall 1": np.mean(shares), "error 1": np.std(shares, ddof=1) / len(shares) ** 0.5,
            "p50 1": np.median(spent), "p99 1": np.percentile(spent, 99)}
figures, setting = measured(), "as it set itself"
space = faiss.ParameterSpace()
if figures["recall 1"] < told["recall"] and "HNSW" in type(faiss.downcast_index(index)).__name__:
    for width in (32, 64, 128, 256, 512):
        space.set_index_parameters(index, f"efSearch={width}")
        figures, setting = measured(), f"efSearch {width}"
        if figures["recall 1"] >= told["recall"]:
            break
size = os.path.getsize(told["index"])
print(json.dumps({k: float(v) for k, v in figures.items()} | {"seconds": seconds, "file_mb": size / 1e6,
    "own_mb": (own() - before) / 1e6, "index": type(faiss.downcast_index(index)).__name__ + ", " + setting}))
"""


def measure(python: str, folder: Path, *, recall: float) -> dict[str, Any]:
    """Let it choose and build an index of the same vectors in float32. Raises PeerMissing where it fails."""
    made = opened(folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        told = {"recall": recall, "cores": os.cpu_count(), "index": f"{scratch}/autofaiss.index"}
        vectors = Path(scratch) / "vectors"
        vectors.mkdir()
        for first, block in made.vectors.blocks():
            np.save(vectors / f"{first:09d}.npy", block)
        for name, array in {"queries": made.queries, "exact": made.exact[SHARES[0]]}.items():
            np.save(f"{scratch}/{name}.npy", array)
            told[name] = f"{scratch}/{name}.npy"
        path = Path(scratch) / "told.json"
        path.write_text(json.dumps(told | {"vectors": str(vectors)}))
        done = subprocess.run([python, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissing(f"autofaiss ended: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
