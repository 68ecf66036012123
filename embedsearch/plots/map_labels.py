"""Where the names of a map's regions stand, so that none meets another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from embedsearch.map import MapPoints, Region
from embedsearch.plots.style import FONT, SMALL, text_width

LINES = (2, 1)
"""Terms that the name of a coarse and of a fine region shows, each on its line."""
LETTERS = (FONT, SMALL)
"""Points: of the names of coarse and of fine regions; in a map that is less wide all are small."""
STEP = 1.18 / 72
"""Inches from line to line, for each point of the letters' size."""
PAD = 0.025
"""Inches around a name that stay free."""
MOVES = (0.0, 0.09, -0.09, 0.18, -0.18, 0.27, -0.27)
"""Inches up or down that a name may move to find room."""
ROOM = 0.6
"""Square inches of a map for each fine name, at least: more would hide the papers."""
WIDE = 4.5
"""Inches from which on a map has fine names."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A name: its lines, the middle of them in inches from the lower left corner, the letters' size in points."""

    lines: tuple[str, ...]
    x: float
    y: float
    size: float
    level: int

    @property
    def half(self) -> tuple[float, float]:
        """Half of its width and of its height, in inches."""
        wide = max(text_width(line, self.size) for line in self.lines)
        return wide / 2 + PAD, len(self.lines) * self.size * STEP / 2 + PAD

    def meets(self, other: Placed) -> bool:
        """Whether two overlap."""
        mine, theirs = self.half, other.half
        return abs(self.x - other.x) < mine[0] + theirs[0] and abs(self.y - other.y) < mine[1] + theirs[1]


def place_labels(
    points: MapPoints, *, width: float, height: float, at: Callable[[tuple[float, float]], tuple[float, float]]
) -> list[Placed]:
    """The names that fit into a map of these inches: coarse regions first, larger ones before smaller ones.

    `at` gives the inches of a place in the map. A fine region whose name is said already stays without.
    """
    placed: list[Placed] = []
    said: set[str] = set()
    n_fine = int(width * height / ROOM) if width >= WIDE else 0
    for region in sorted(points.regions, key=lambda region: (region.level, -region.n)):
        lines = region.terms[: LINES[region.level]]
        if not lines or (region.level and (n_fine <= 0 or said & {line.casefold() for line in lines})):
            continue
        for place in _places(region, lines, at(region.xy), width, height):
            if not any(place.meets(other) for other in placed):
                placed.append(place)
                said |= {line.casefold() for line in lines}
                n_fine -= region.level
                break
    return placed


def _places(
    region: Region, lines: tuple[str, ...], at: tuple[float, float], width: float, height: float
) -> Iterator[Placed]:
    """Where it could stand, the best first; within the map, with its first line alone rather than not at all."""
    size = LETTERS[region.level] if width >= WIDE else SMALL
    for some, move in ((some, move) for some in dict.fromkeys((lines, lines[:1])) for move in MOVES):
        wanted = Placed(some, at[0], at[1] + move, size, region.level)
        across, up = wanted.half
        if 2 * across < width and 2 * up < height:
            x = min(max(wanted.x, across), width - across)
            y = min(max(wanted.y, up), height - up)
            yield Placed(some, x, y, size, region.level)
