"""Near-duplicates by each kind of index: time, pairs, and what an approximate one misses.

    python -m benchmarks.duplicates --index indexes/real [--min-cosine 0.95 0.9 0.85] [--kinds flat ivf exact]
        [--work DIR] [--synthetic N]

With --synthetic N the vectors are N made ones (benchmarks.synthetic). One in fifty is another's near-duplicate, of a
cosine anywhere from 0.85 to 1.

The papers and vectors of the store are put into one store of each kind. Each is asked as `embedsearch duplicates` asks
it (but that scans where papers are few, whatever the index), in a process that has all loaded; the fastest of three, of
more than 20,000 papers once. What all pairs have is the truth. At the end: the kinds of pairs at the lowest cosine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.synthetic import source
from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.duplicates import Duplicates, find_duplicates, finding
from embedsearch.scores import unit_rows
from embedsearch.search.view import StoreView
from embedsearch.store.space import Space

TIMES = 3
ONE_IN, LEAST = 50, 0.85
"""Of made papers one in so many is near another, by a cosine of at least so much."""


def main() -> None:
    """Print a line for each kind and cosine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--min-cosine", type=float, nargs="+", default=[0.95, 0.9, 0.85])
    parser.add_argument(
        "--kinds", nargs="+", default=["flat", "ivf", "exact"], choices=[kind.value for kind in AnnKind]
    )
    parser.add_argument("--work", type=Path, help="Keeps the stores, for the next run. [default: a temporary folder]")
    parser.add_argument("--synthetic", type=int, metavar="N")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="embedsearch-") as temporary:
        folder, corpus, space = asked.work or Path(temporary), str(asked.index), Space.open(asked.index)
        folder.mkdir(parents=True, exist_ok=True)
        if asked.synthetic:
            corpus, space = _made(folder / "papers.jsonl", space, asked.synthetic)
        finding.SCANNED_PAPERS = 0  # the index is asked however few papers there are
        views = {kind: _copy(corpus, space, folder / kind, AnnKind(kind)) for kind in asked.kinds}
        _compare(views, sorted(asked.min_cosine, reverse=True))


def _copy(corpus: str, space: Space, folder: Path, kind: AnnKind) -> StoreView:
    build_index(corpus, folder, vectors=space, options=BuildOptions(ann=kind))
    return StoreView.open(folder)


def _made(path: Path, like: Space, n: int) -> tuple[str, Space]:
    """A corpus without words to speak of, and the space of its papers."""
    vectors = np.concatenate([block for _, block in source(like.vectors).blocks(n)])
    random = np.random.default_rng(0)
    copies = n // ONE_IN
    noise = random.normal(size=(copies, vectors.shape[1]))
    noise -= (noise * vectors[:copies]).sum(axis=1, keepdims=True) * vectors[:copies]
    cosine = random.uniform(LEAST, 1, size=(copies, 1))
    across = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors[n - copies :] = unit_rows(cosine * vectors[:copies] + np.sqrt(1 - cosine**2) * across)
    ids = [f"made.{i:07d}" for i in range(n)]
    records = (json.dumps({"id": id, "title": f"Paper {i}", "abstract": f"Number {i}."}) for i, id in enumerate(ids))
    path.write_text("\n".join(records))
    return str(path), Space.of(ids, vectors)


def _compare(views: dict[str, StoreView], cosines: Sequence[float]) -> None:
    print(f"{next(iter(views.values())).n_papers:,} papers")
    print(f"{'index':8}{'cosine':>8}{'pairs':>10}{'missed':>8}{'groups':>8}{'seconds':>9}  of which describing")
    for cosine in cosines:
        truth = _pairs(find_duplicates(next(iter(views.values())), min_cosine=cosine, exact=True))
        for kind, view in views.items():
            seconds, found = _timed(view, cosine, n=None)
            bare, _ = _timed(view, cosine, n=1)
            missed = len(truth - _pairs(found))
            print(
                f"{kind:8}{cosine:8.2f}{found.n_pairs:10,}{missed:8,}{len(found.groups):8,}{seconds:9.2f}"
                f"  {max(0.0, seconds - bare):.2f}"
            )
    print(dict(Counter(pair.kind.value for pair in found.pairs).most_common()))


def _timed(view: StoreView, cosine: float, *, n: int | None) -> tuple[float, Duplicates]:
    times = []
    for _ in range(TIMES if view.n_papers <= 20_000 else 1):
        began = time.perf_counter()
        found = find_duplicates(view, min_cosine=cosine, n=n)
        times.append(time.perf_counter() - began)
    return min(times), found


def _pairs(found: Duplicates) -> set[tuple[str, str]]:
    return {(min(pair.ids), max(pair.ids)) for pair in found.pairs}


if __name__ == "__main__":
    main()
