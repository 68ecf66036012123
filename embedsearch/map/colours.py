"""What the colour of a point says: the same on the page and in print, and the same in maps side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from embedsearch.map.points import MapPoints
from embedsearch.scores import Float32


class ColourBy(StrEnum):
    """What is told by colour."""

    CATEGORY = "category"
    """The primary category; the largest have a colour each, the others are grey together."""
    DENSITY = "density"
    """How crowded the picture is around a paper."""
    YEAR = "year"
    """The year of publication."""


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#A89A00")
"""Okabe & Ito's (2008), which every kind of colour vision tells apart; their yellow darker, so that it is seen on
white."""
OTHER = "#A6A6A6"
"""Of the categories without a colour, and of what is not known."""
RAMP = (
    "#440154", "#482878", "#3E4A89", "#31688E", "#26828E", "#1F9E89", "#35B779", "#6DCD59", "#B4DE2C", "#FDE725",
)  # fmt: skip
"""Viridis at ten even steps: even in lightness, so that it reads in greyscale too."""
OTHERS = "other"
UNKNOWN = "unknown"
LEAST_SHARE = 0.005
"""A category that fewer of the papers have gets no colour of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Colours that are told apart: `names`, `colours` (#RRGGBB) and `counts` of each, `of` (n,) int16 of each paper.

    The largest first; those that share the grey are the last one.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...]
    counts: tuple[int, ...]
    of: NDArray[np.int16] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ramp:
    """Colours along a scale: `values` (n,) float32 from 0 to 1 along `colours`, NaN of what is not known (OTHER).

    `ticks` are places along it and what stands there.
    """

    values: Float32 = field(repr=False)
    ticks: tuple[tuple[float, str], ...]
    colours: tuple[str, ...] = RAMP


def by_category(categories: Sequence[str]) -> Groups:
    """The colours of primary categories ("" where not known): of the largest up to 8, each at least 1 in 200."""
    counts = Counter(name for name in categories if name)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    own = [name for name in ranked[: len(PALETTE)] if counts[name] >= LEAST_SHARE * len(categories)]
    number = {name: i for i, name in enumerate(own)}
    of = np.array([number.get(name, len(own)) for name in categories], np.int16)
    names, colours = list(own), list(PALETTE[: len(own)])
    if (of == len(own)).any():
        names.append(OTHERS if len(ranked) > len(own) else UNKNOWN)
        colours.append(OTHER)
    totals = tuple(int((of == i).sum()) for i in range(len(names)))
    return Groups(names=tuple(names), colours=tuple(colours), counts=totals, of=of)


def by_year(years: NDArray[np.int16]) -> Ramp:
    """The colours of years (n,), 0 where not known: from the year that 1 paper in 100 is older than, to the last."""
    known = np.sort(years[years > 0])
    if not len(known):
        return Ramp(values=np.full(len(years), np.nan, np.float32), ticks=())
    first, last = int(known[len(known) // 100]), int(known[-1])
    span = max(last - first, 1)
    values: Float32 = np.clip((years.astype(np.float32) - first) / np.float32(span), 0, 1).astype(np.float32)
    values[years <= 0] = np.nan
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10_000) if span / step <= 5)
    marks = sorted({first, *range(-(-first // step) * step, last + 1, step), last})
    kept = [year for year in marks if year in (first, last) or min(year - first, last - year) >= step / 2]
    begins_earlier = int(known[0]) < first
    texts = {first: f"≤ {first}" if begins_earlier else str(first)}
    ticks = tuple(((year - first) / span, texts.get(year, str(year))) for year in kept)
    return Ramp(values=values, ticks=ticks)


def by_density(density: Float32) -> Ramp:
    """The colours of densities, which go from 0 to 1 already."""
    return Ramp(values=density, ticks=((0.0, "sparse"), (0.5, "median"), (1.0, "dense")))


def colouring(points: MapPoints, by: ColourBy | str) -> Groups | Ramp:
    """The colours of a map's papers. Of maps side by side, category and year give each paper the same one in both."""
    by = ColourBy(by)
    if by is ColourBy.CATEGORY:
        return by_category(points.categories)
    return by_year(points.years) if by is ColourBy.YEAR else by_density(points.density)
