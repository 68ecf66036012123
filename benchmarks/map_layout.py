"""How long a map takes, and how much of the neighbourhoods it keeps, beside other ways to lay it out.

    python -m benchmarks.map_layout --index INDEX [--papers 300000] [--others]

The papers of INDEX, or with --papers so many made ones: each between a paper of INDEX and one of its eight nearest,
with a little noise, and with its words. --others lays the papers of INDEX out with other settings of UMAP, and by
scikit-learn's t-SNE (one thread each, as the map is).
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embedsearch.map import LayoutOptions, MapPapers, make_maps, read_papers
from embedsearch.map.agreement import K, neighbours_in_picture
from embedsearch.map.layout import exact_neighbours, start, with_self
from embedsearch.map.terms import MOST_TEXTS
from embedsearch.pairs.compare.neighbours import Neighbours, nearest, overlap
from embedsearch.scores import Float32, unit_rows
from embedsearch.store.space import Space

SETTINGS: tuple[dict[str, Any], ...] = (
    {"min_dist": 0.1},
    {"min_dist": 0.0},
    {"min_dist": 0.1, "init": "spectral"},
    {"min_dist": 0.1, "n_epochs": 1000},
    {"min_dist": 0.1, "negative_sample_rate": 15},
)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--papers", type=int)
    parser.add_argument("--others", action="store_true")
    given = parser.parse_args()
    space = Space.open(given.index)
    space = space.take(np.argsort(np.array(space.ids), kind="stable"))
    papers = read_papers(space.ids, [given.index])
    if given.papers:
        space, papers = made(space, papers, given.papers)
    steps = Steps()
    (one,) = make_maps([space], papers, steps=steps.begin)
    steps.end()
    print(one.caption.split("\n")[1])
    print(f"{len(one.regions)} regions; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
    if given.others:
        others(space.vectors)


class Steps:
    """Prints how long each step took, on the clock and of the processor."""

    def __init__(self) -> None:
        self._what = ""
        self._began = time.monotonic(), time.process_time()

    def begin(self, what: str) -> Callable[[int, int], None]:
        self.end()
        self._what = what
        return lambda done, total: None

    def end(self) -> None:
        now = time.monotonic(), time.process_time()
        if self._what:
            spent = [after - before for after, before in zip(now, self._began, strict=True)]
            print(f"{self._what}: {spent[0]:.1f} s, {spent[1]:.1f} s of the processor", flush=True)
        self._began = now


def made(space: Space, papers: MapPapers, n: int) -> tuple[Space, MapPapers]:
    """n papers like those of a space."""
    rng = np.random.default_rng(0)
    real = space.vectors
    near = nearest(real, 8).positions
    of = rng.integers(0, len(real), n)
    other, weight = near[of, rng.integers(0, 8, n)], rng.uniform(0, 1, (n, 1))
    vectors = np.empty((n, space.dim), np.float32)
    for first in range(0, n, 20_000):
        part = slice(first, first + 20_000)
        noise = 0.02 * rng.normal(size=vectors[part].shape)
        vectors[part] = unit_rows(weight[part] * real[of[part]] + (1 - weight[part]) * real[other[part]] + noise)
    found = MapPapers(ids=[f"{i:09d}" for i in range(n)])
    found.titles, found.authors = [papers.titles[i] for i in of], [papers.authors[i] for i in of]
    found.categories, found.years = [papers.categories[i] for i in of], papers.years[of]
    text = dict(zip(papers.of_texts.tolist(), papers.texts, strict=True))
    found.of_texts = np.sort(rng.permutation(n)[:MOST_TEXTS])
    found.texts = [text[of[i]] for i in found.of_texts]
    return Space.of(found.ids, vectors, name="made", model_name=space.model_name), found


def others(vectors: Float32) -> None:
    """Other settings, and t-SNE: the share that each keeps, and its seconds without the search of neighbours."""
    import umap
    from sklearn.manifold import TSNE

    near = exact_neighbours(vectors, K)
    if near is None:
        sys.exit("too many papers to search their neighbours exactly")
    begun = start(vectors, seed=0)
    known = with_self(near.first(LayoutOptions().neighbors - 1))
    for settings in SETTINGS:
        every: dict[str, Any] = {"n_neighbors": 15, "metric": "cosine", "random_state": 0, "init": begun}
        model = umap.UMAP(**every | settings, precomputed_knn=known)
        report(str(settings), model.fit_transform, vectors, near)
    tsne = TSNE(2, metric="cosine", init=begun / 1e5, random_state=0, n_jobs=1)
    report("t-SNE of scikit-learn", tsne.fit_transform, vectors, near)


def report(name: str, lay_out: Callable[[Float32], Any], vectors: Float32, near: Neighbours) -> None:
    """One line."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xy = np.asarray(lay_out(vectors), np.float32)
    seconds = time.process_time() - began
    kept = overlap(near.first(K), neighbours_in_picture(xy, np.arange(len(xy)), K)).mean()
    print(f"{name}: {kept:.1%} of {K} neighbours kept, {seconds:.0f} s of the processor", flush=True)


if __name__ == "__main__":
    main()
