"""The package's index of vectors at sizes that nobody has embedded, beside FAISS HNSW and autofaiss.

    python -m benchmarks.ann [--like SPACE] [--sizes 1000,10000,100000,300000,1000000] [--dim D] [--kind ivf]
        [--recall 0.99] [--memory MB] [--peers] [--autofaiss-python PYTHON] [--work FOLDER] [--quick]

Vectors are made from those of SPACE, by default of the real abstracts (benchmarks.synthetic: how far they agree),
and kept in the work folder. Each figure comes from a process of its own: one builds, one searches, one is the first
after the files were dropped from the page cache. Prints Markdown. `--peers` measures FAISS HNSW32 and autofaiss as
well, up to 1,000,000 vectors; autofaiss needs an environment of its own, which `--peers` makes unless one is named.
`--quick` takes few vectors of a made-up space, to see that it works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ann_autofaiss, environments
from benchmarks.ann_made import make
from benchmarks.ann_steps import drop_from_cache
from benchmarks.synthetic import Source, source
from embedsearch.scores import Float32, unit_rows
from embedsearch.store.space import Space

SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000)
PEERS_UP_TO = 1_000_000
N_QUERIES, N_CHOOSING = 400, 1_000
ROOT = Path(__file__).parents[1]
Figures = dict[str, Any]
NOTES = """
Recall is of the exact ten, with its standard error over {n_queries} queries that are no rows, nor those with which the
index set itself; ms are of one query at a time in one thread, re-scored from the stored float16 rows, all in memory.
Own memory: anonymous pages since before the index was opened, and pages of its file; the vectors' pages are mapped and
beside it. Peak: anonymous pages while building. Peers find rows without re-scoring; their setting is the cheapest tried
that reaches the recall on the same queries, which favours them. Cold: the files were dropped from the page cache
(posix_fadvise) before the process began; importing is not counted.
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.ann", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--like", type=Path, metavar="SPACE")
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")])
    parser.add_argument("--dim", type=int)
    parser.add_argument("--kind", choices=["flat", "ivf"])
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--memory", type=float, metavar="MB")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--autofaiss-python", metavar="PYTHON")
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    options = parse(arguments)
    with ExitStack() as stack:
        work = options.work or (
            Path(stack.enter_context(tempfile.TemporaryDirectory())) if options.quick else environments.work()
        )
        like = source(made_up() if options.quick else real(options.like or work / "store"), dim=options.dim)
        rows = []
        for n in options.sizes or ((300, 2_000) if options.quick else SIZES):
            print(f"{n:,} x {like.dim}", file=sys.stderr)
            rows += measure(options, like, work / f"ann-{n}-{like.dim}", n)
    print(tables(rows))
    print(NOTES.format(n_queries=20 if options.quick else N_QUERIES))


def real(space: Path) -> Float32:
    """Up to 10,000 vectors of a space."""
    return unit_rows(np.concatenate([rows for _, rows in Space.open(space).blocks()])[:10_000])


def made_up() -> Float32:
    """(400, 48) vectors around 20 points."""
    rng = np.random.default_rng(0)
    return unit_rows(rng.standard_normal((20, 48))[rng.integers(0, 20, 400)] + 0.5 * rng.standard_normal((400, 48)))


def measure(options: argparse.Namespace, like: Source, folder: Path, n: int) -> list[Figures]:
    """The rows of this many vectors."""
    n_queries, n_choosing = (20, 60) if options.quick else (N_QUERIES, N_CHOOSING)
    make(folder, like, n, n_queries=n_queries, n_choosing=n_choosing)
    memory = None if options.memory is None else int(options.memory * 1e6)
    kind = options.kind or ("ivf" if options.quick and n > 1_000 else None)
    ours = step("build", folder, kind=kind, recall=options.recall, memory=memory) | step("search", folder)
    drop_from_cache(folder)
    rows = [{"who": "embedsearch"} | ours | step("cold", folder)]
    if options.peers and n <= PEERS_UP_TO:
        rows.append({"who": "FAISS"} | step("hnsw", folder, recall=options.recall))
        rows.append({"who": "autofaiss"} | autofaiss(options, folder))
    return [{"vectors": f"{n:,} x {like.dim}"} | row for row in rows]


def step(name: str, folder: Path, **told: Any) -> Figures:
    """What a step in a process of its own has measured; a row that says why not, if it fails."""
    command = [sys.executable, "-m", "benchmarks.ann_steps", name, str(folder), json.dumps(told)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"index": f"{name} failed with {done.returncode}"}
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: {figures}", file=sys.stderr)
    return figures


def autofaiss(options: argparse.Namespace, folder: Path) -> Figures:
    """autofaiss in its own environment."""
    try:
        python = options.autofaiss_python or environments.python_of("autofaiss", make=options.peers)
        return ann_autofaiss.measure(python, folder, recall=options.recall)
    except environments.PeerMissing as error:
        return {"index": f"not measured: {error}"}


def tables(rows: list[Figures]) -> str:
    """Markdown: one table for all, one for filters and a cold start."""
    lines = ["| vectors | | index | built in s | peak MB | file MB | own MB | vectors' MB | recall | ms p50 | p99 |"]
    lines.append("|---" * 11 + "|")
    for row in rows:
        numbers = [number(row, key) for key in ("seconds", "peak_mb", "file_mb", "own_mb", "vectors_mb")]
        cells = [row["vectors"], row["who"], row["index"], *numbers, recall(row, "1")]
        lines.append(f"| {' | '.join([*cells, number(row, 'p50 1'), number(row, 'p99 1')])} |")
    lines += [
        "",
        "| vectors | 10 % allowed: recall | ms | 1 % allowed: recall | ms | cold: open ms | first query | next |",
    ]
    lines.append("|---" * 8 + "|")
    for row in (row for row in rows if "open_ms" in row):
        filtered = [cell for share in ("0.1", "0.01") for cell in (recall(row, share), number(row, f"p50 {share}"))]
        first = [number(row, key) for key in ("open_ms", "first_ms", "next_ms")]
        lines.append(f"| {' | '.join([row['vectors'], *filtered, *first])} |")
    return "\n".join(lines + [f"\n{row['vectors']}: {row['missed']}" for row in rows if "missed" in row])


def recall(row: Figures, share: str) -> str:
    """With its standard error."""
    return f"{row[f'recall {share}']:.4f} ± {row[f'error {share}']:.4f}" if f"recall {share}" in row else ""


def number(row: Figures, key: str) -> str:
    """Three digits that count."""
    if key not in row:
        return ""
    return f"{row[key]:,.0f}" if row[key] >= 100 else f"{row[key]:.2g}" if row[key] < 10 else f"{row[key]:.1f}"


if __name__ == "__main__":
    main()
