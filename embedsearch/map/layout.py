"""Papers in two dimensions by UMAP: the same papers, options and versions give the same layout, bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from embedsearch.errors import MissingExtra, OptionError
from embedsearch.pairs.compare.neighbours import Neighbours, nearest
from embedsearch.scores import Float32, Float64
from embedsearch.transform import TransformSpec, fit

FEWEST = 3
"""Papers: fewer have no layout."""
EXACT_UP_TO = 50_000
"""Papers whose neighbours are found exactly, in a minute and a half at most; of more, UMAP searches them itself."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOptions:
    """How papers are laid out.

    `neighbors`: how many nearest papers each is kept near to; more show the large, fewer the fine structure.
    `min_dist`: how close two papers may come, where the picture's unit is UMAP's. `seed`: of the layout.
    Raises OptionError for values that no layout has.
    """

    neighbors: int = 15
    min_dist: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.neighbors <= 200:
            raise OptionError(f"expected 2 to 200 neighbours, found {self.neighbors}")
        if not 0 <= self.min_dist <= 1:
            raise OptionError(f"expected a smallest distance of 0 to 1, found {self.min_dist:g}")
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"expected a seed of 0 to {2**32 - 1}, found {self.seed}")


def umap_version() -> str:
    """The version that is installed; MissingExtra, with what installs it, where none is."""
    try:
        return version("umap-learn")
    except PackageNotFoundError:
        raise MissingExtra("a map is laid out by umap-learn: pip install 'embedsearch[map]'") from None


def n_neighbors(options: LayoutOptions, n: int) -> int:
    """How many each of n papers is kept near to: there may be fewer than are asked for."""
    return min(options.neighbors, n - 1)


def layout(vectors: Float32, options: LayoutOptions, *, found: Neighbours | None) -> Float32:
    """(n, 2) float32 of n unit rows (n, d) in the order of their ids: UMAP (McInnes et al. 2018, arXiv:1802.03426).

    `found` are the exact neighbours of all papers, at least `options.neighbors` - 1 of each (or all others); None lets
    UMAP search them, approximately. It begins from the two leading principal components, which keeps most of what a
    layout can of the large structure (Kobak & Linderman 2021, Nature Biotechnology 39, 156), and takes one thread: with
    more, its result would depend on which is first. Raises MissingExtra; OptionError for fewer than 3 papers.
    """
    if len(vectors) < FEWEST:
        raise OptionError(f"expected at least {FEWEST} papers for a map, found {len(vectors)}")
    umap_version()
    k = n_neighbors(options, len(vectors))
    known = {} if found is None else {"precomputed_knn": with_self(found.first(k - 1))}
    with warnings.catch_warnings():
        # That it runs in one thread, that new papers cannot be added, that TensorFlow is not here: all known
        warnings.simplefilter("ignore")
        import umap

        model: Any = umap.UMAP(
            n_neighbors=k, min_dist=options.min_dist, metric="cosine", random_state=options.seed,
            init=start(vectors, seed=options.seed), n_jobs=1, low_memory=True,
            disconnection_distance=3.0,  # farther than any two papers are: none is left without a place
            **known,
        )  # fmt: skip
        xy: Float32 = model.fit_transform(vectors).astype(np.float32)
    return xy


def with_self(found: Neighbours) -> tuple[Any, Any, None]:
    """Indices and distances as UMAP has them: each paper is its own first neighbour."""
    n = len(found.positions)
    indices = np.concatenate([np.arange(n)[:, None], found.positions], axis=1)
    distances = np.concatenate([np.zeros((n, 1), np.float32), np.maximum(1 - found.scores, 0)], axis=1)
    return indices, distances.astype(np.float32), None


def start(vectors: Float32, *, seed: int) -> Float32:
    """Where UMAP begins: (n, 2) float32, the two leading principal components; random where there are fewer.

    In [-10, 10], rounded and with a little seeded noise: how many threads summed must not matter, and papers of equal
    vectors must not lie on one another.
    """
    noise = np.random.default_rng(seed).normal(size=(len(vectors), 2))
    try:
        fitted = fit(TransformSpec.parse("whiten:2"), [(0, vectors)], dim=vectors.shape[1])
    except OptionError:
        return (noise * 3).astype(np.float32)
    assert fitted.matrix is not None
    directions = fitted.matrix / np.linalg.norm(fitted.matrix, axis=0)
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0))
    along = np.concatenate([vectors[i : i + 8192] @ (directions * signs) for i in range(0, len(vectors), 8192)])
    along -= along.mean(axis=0)
    begun: Float32 = (np.round(along * (10 / np.abs(along).max()), 5) + 1e-4 * noise).astype(np.float32)
    return begun


def exact_neighbours(vectors: Float32, n_neighbors: int, *, progress: Progress | None = None) -> Neighbours | None:
    """The nearest of all papers, exact, n_neighbors of each (or all others); None where there are too many papers."""
    n = len(vectors)
    if n > EXACT_UP_TO:
        return None
    done = 0

    def count(cosines: int) -> None:
        nonlocal done
        done += cosines
        if progress is not None:
            progress(done, n * n)

    return nearest(vectors, min(n_neighbors, n - 1), progress=count)


def placed(xy: Float32, *, like: Float32 | None = None) -> Float32:
    """A layout (n, 2) turned and scaled for a picture: its larger extent from -1 to 1, the middle at 0.

    Its longest axis lies along x; turning and mirroring changes no distance. With `like`, a layout of the same papers,
    it is turned, and mirrored if that helps, to lie as near to that as it can (Schoenemann 1966, Psychometrika 31, 1).
    """
    away = xy.astype(np.float64) - xy.mean(axis=0, dtype=np.float64)
    if like is None:
        turn = _long_axis_first(away)
    else:
        left, _, right = np.linalg.svd(away.T @ (like - like.mean(axis=0, dtype=np.float64)))
        turn = left @ right
    away = away @ turn
    low, high = away.min(axis=0), away.max(axis=0)
    scale = max(float((high - low).max()), 1e-12) / 2
    out: Float32 = ((away - (low + high) / 2) / scale).astype(np.float32)
    return out


def _long_axis_first(away: Float64) -> Float64:
    """The rotation (2, 2) to principal axes, each turned so that its longer tail is at the positive end."""
    _, axes = np.linalg.eigh(away.T @ away)
    turn = axes[:, ::-1]
    turned: Float64 = turn * np.where(((away @ turn) ** 3).sum(axis=0) < 0, -1.0, 1.0)
    return turned
