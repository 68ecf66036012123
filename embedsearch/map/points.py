"""What a map is made of: papers at places in two dimensions, and the regions that they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.scores import Float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A dense part of a map. `label` is for people, made of the first of `terms`, which set its papers apart most.

    `xy` is where a label belongs: a place in its densest part. `n` counts its papers. `level` is 0 for the coarse
    regions, which are seen from afar, and 1 for the fine ones; `parent` is the coarse region of a fine one, by its
    number in `MapPoints.regions`, -1 of a coarse one, or where most of its papers lie in none.
    """

    label: str
    terms: tuple[str, ...]
    xy: tuple[float, float]
    n: int
    level: int = 0
    parent: int = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPoints:
    """n papers at places, in the order of their ids: two maps of the same papers have the same papers in each place.

    `label` is the space as a legend says it, `name` its folder or file. `xy` is (n, 2) float32: the larger extent goes
    from -1 to 1, both axes to the same scale, y upwards. `titles`, `authors` (short: "Li et al.") and `categories` (the
    primary ones) are "" where they are not known, `years` (n,) int16 is 0. `density` (n,) float32 is that of the
    picture around a paper, from 0 to 1 by rank. `region_of` (2, n) int32 has the number in `regions` of the
    coarse and of the fine region of a paper, -1 in none. `caption` says what the map is and what it cannot show.
    """

    name: str
    label: str
    ids: tuple[str, ...] = field(repr=False)
    xy: Float32 = field(repr=False)
    titles: tuple[str, ...] = field(repr=False)
    authors: tuple[str, ...] = field(repr=False)
    categories: tuple[str, ...] = field(repr=False)
    years: NDArray[np.int16] = field(repr=False)
    density: Float32 = field(repr=False)
    region_of: NDArray[np.int32] = field(repr=False)
    regions: tuple[Region, ...]
    caption: str
    seed: int
    recipe: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)
