"""The numbers behind a map: its regions, and where each paper lies."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from embedsearch.map import MapPoints
from embedsearch.render.tables import Column, Table, to_json

LEVELS = ("coarse", "fine")


def regions_table(maps: Sequence[MapPoints]) -> Table:
    """The regions of each map, coarse ones first, larger ones first, with the terms that set them apart."""
    rows = []
    for one in maps:
        for region in one.regions:
            inside = one.regions[region.parent].label if region.parent >= 0 else None
            rows.append((one.label, LEVELS[region.level], region.n, list(region.terms), inside, *region.xy))
    columns = (
        Column("map"), Column("level"), Column("papers"), Column("terms"), Column("inside"), Column("x", digits=2),
        Column("y", digits=2),
    )  # fmt: skip
    return Table(columns, tuple(rows))


def coarse_table(maps: Sequence[MapPoints]) -> Table:
    """The coarse regions, for people."""
    several = len(maps) > 1
    rows = [
        (*((one.label,) if several else ()), region.n, list(region.terms))
        for one in maps
        for region in one.regions
        if region.level == 0
    ]
    columns = (*((Column("map"),) if several else ()), Column("papers"), Column("region, by its terms"))
    return Table(columns, tuple(rows))


POINT_COLUMNS = (
    "map", "space", "id", "x", "y", "density", "coarse", "fine", "title", "authors", "category", "year",
)  # fmt: skip


def points_text(maps: Sequence[MapPoints], format: str) -> str:
    """Each paper of each map as `csv` or `json` (a list of objects): its place, what is drawn of it, its regions.

    What is not known is empty, or null. Not by `tables`, whose cells may be anything: these are hundreds of thousands.
    """
    rows = [row for one in maps for row in _points(one)]
    if format == "json":
        return to_json([dict(zip(POINT_COLUMNS, row, strict=True)) for row in rows])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(POINT_COLUMNS)
    writer.writerows(rows)
    return buffer.getvalue()


def _points(points: MapPoints) -> Iterator[tuple[Any, ...]]:
    names = [*(region.label for region in points.regions), None]  # the last is that of -1
    places, density = points.xy.astype(float).round(5).tolist(), points.density.astype(float).round(5).tolist()
    coarse, fine = points.region_of.tolist()
    for i, (id, (x, y)) in enumerate(zip(points.ids, places, strict=True)):
        yield (
            points.label, points.name, id, x, y, density[i], names[coarse[i]], names[fine[i]],
            points.titles[i] or None, points.authors[i] or None, points.categories[i] or None,
            int(points.years[i]) or None,
        )  # fmt: skip
