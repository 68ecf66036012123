"""From spaces to maps: the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch._version import __version__
from embedsearch.errors import OptionError
from embedsearch.map import agreement as agreeing
from embedsearch.map.agreement import Agreement
from embedsearch.map.caption import caption
from embedsearch.map.density import density_of
from embedsearch.map.layout import FEWEST, LayoutOptions, Progress, exact_neighbours, layout, placed, umap_version
from embedsearch.map.papers import MapPapers
from embedsearch.map.points import MapPoints, Region
from embedsearch.map.regions import find_regions
from embedsearch.pairs.compare.neighbours import Neighbours
from embedsearch.pairs.similarity import distinct_labels
from embedsearch.scores import Float32
from embedsearch.store.space import Space

Steps = Callable[[str], Progress]
"""Told what begins; gives what is called with how much of it is done, and how much there is."""


def make_maps(
    spaces: Sequence[Space], papers: MapPapers, *, options: LayoutOptions | None = None, steps: Steps | None = None
) -> tuple[MapPoints, ...]:
    """The map of a space, or of two that are aligned, in the order of their ids, which is also that of `papers`.

    The second is turned to lie like the first. The neighbours of up to `layout.EXACT_UP_TO` papers are found exactly.
    Memory: the vectors of one space at a time, and a list of neighbours. Raises MissingExtra; OptionError for fewer
    than 3 papers, more than two spaces, or ids in another order.
    """
    options = options or LayoutOptions()
    steps = steps or (lambda _: lambda done, total: None)
    umap = umap_version()
    _check(spaces, papers)
    n, labels = len(spaces[0]), distinct_labels(spaces)
    near: list[Neighbours] = []
    pictures: list[Float32] = []
    for space, label in zip(spaces, labels, strict=True):
        vectors = space.vectors
        k = min(agreeing.K, n - 1)
        found = exact_neighbours(vectors, max(k, options.neighbors), progress=steps(f"neighbours in {label}"))
        steps(f"layout of {label}")
        xy = layout(vectors, options, found=found)
        pictures.append(placed(xy, like=pictures[0] if pictures else None))
        measured = agreeing.measured_papers(n, exact=found is not None, seed=options.seed)
        near.append(found.first(k) if found else agreeing.neighbours_in_space(vectors, measured, k))
    steps("regions")
    kept = agreeing.agreement(near, pictures, measured)
    maps = []
    for i, (space, xy) in enumerate(zip(spaces, pictures, strict=True)):
        regions, region_of = _regions(xy, papers)
        said = caption(spaces, labels, i, options=options, umap=umap, exact=found is not None, found=kept)
        recipe = _recipe(space, options, umap, found is not None, kept, i)
        maps.append(_points(space.name, labels[i], papers, xy, regions, region_of, said, recipe))
    return tuple(maps)


def _check(spaces: Sequence[Space], papers: MapPapers) -> None:
    if not 1 <= len(spaces) <= 2:
        raise OptionError(f"expected one space, or two to lay side by side, found {len(spaces)}")
    if len(spaces[0]) < FEWEST:
        raise OptionError(f"expected at least {FEWEST} papers for a map, found {len(spaces[0])}")
    ids = sorted(spaces[0].ids)
    if any(list(space.ids) != ids for space in spaces) or list(papers.ids) != ids:
        raise OptionError("expected spaces over the same papers in the order of their ids, found others: align them")


def _regions(xy: Float32, papers: MapPapers) -> tuple[tuple[Region, ...], NDArray[np.int32]]:
    """None where there are no words to name them by."""
    if not papers.texts:
        return (), np.full((2, len(xy)), -1, np.int32)
    return find_regions(xy, texts=papers.texts, of_texts=papers.of_texts)


def _recipe(
    space: Space, options: LayoutOptions, umap: str, exact: bool, found: Agreement, number: int
) -> dict[str, Any]:
    """All that the map depends on, and what was measured of it."""
    measures = asdict(found) | {"kept": found.kept[number]}
    return {
        "embedsearch": __version__,
        "umap": umap,
        **asdict(options),
        "neighbours": "exact" if exact else "approximate",
        "model": space.model_name,
        "space": dict(space.recipe),
        "agreement": {name: value for name, value in measures.items() if value is not None},
    }


def _points(
    name: str,
    label: str,
    papers: MapPapers,
    xy: Float32,
    regions: tuple[Region, ...],
    region_of: NDArray[np.int32],
    said: str,
    recipe: dict[str, Any],
) -> MapPoints:
    return MapPoints(
        name=name, label=label, ids=tuple(papers.ids), xy=xy, titles=tuple(papers.titles),
        authors=tuple(papers.authors), categories=tuple(papers.categories), years=papers.years,
        density=density_of(xy), region_of=region_of, regions=regions, caption=said, seed=recipe["seed"], recipe=recipe,
    )  # fmt: skip
