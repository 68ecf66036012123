"""Maps as one HTML file, which opens from disk: it asks nobody for anything.

The file carries its style, its scripts and its data. Numbers and texts are gzip in base64; its policy names the style
and the scripts by their hashes and forbids all else, so that no title, whatever stands in it, can run or load anything.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.map.colours import OTHER, ColourBy, Ramp, by_category, by_density, by_year
from embedsearch.map.points import MapPoints
from embedsearch.store import atomic

SCRIPTS = ("data.js", "painters.js", "hands.js", "plot.js", "legend.js", "search.js", "print.js", "page.js")
N_SHADES = 64
"""Steps of a scale's colours in the page; one more is for what is not known."""
EMPTY_HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
"""Of an empty text: the library makes a style element without content."""


def write_map(path: str | Path, maps: Sequence[MapPoints], *, color: ColourBy | str = ColourBy.CATEGORY) -> None:
    """Write one map, or several side by side, as one HTML file; whole, or not at all.

    Side by side, hovering, choosing and searching hold for all: they must be of the same papers. `color` is what the
    colours say at first; the page offers the others too. The same maps give the same bytes. Raises OptionError for
    maps of different papers, StoreError where it cannot be written.
    """
    text = map_page(maps, color=color)
    atomic.check_writable(Path(path))
    atomic.write_bytes(Path(path), text.encode())


def map_page(maps: Sequence[MapPoints], *, color: ColourBy | str = ColourBy.CATEGORY) -> str:
    """The text of that file."""
    if color not in tuple(ColourBy):
        raise OptionError(f"expected a colour by {', '.join(ColourBy)}, found {color!r}; choose one of them")
    if not maps or not len(maps[0]):
        raise OptionError("expected a map of at least 1 paper, found none; choose more papers")
    if any(other.ids != maps[0].ids for other in maps):
        raise OptionError(
            "expected maps of the same papers to show side by side, found different ones; map their common ones"
        )
    css = _part("page.css")
    library = _part("vendored/regl-scatterplot.js")
    # In a block of their own, so that no name of ours is one of the window's.
    own = '"use strict";\n{\n' + "\n".join(_part(name) for name in SCRIPTS) + "}\n"
    figures = [
        _filled(_part("figure.html"), number=str(i + 1), label=html.escape(one.label), caption=_paragraphs(one.caption))
        for i, one in enumerate(maps)
    ]
    return _filled(
        _part("page.html"),
        policy=html.escape(_policy([css], [library, own])),
        title=html.escape(_title(maps)),
        css=css,
        figures="".join(figures),
        about=_script_json(_about(maps, ColourBy(color))),
        points=_packed(_numbers(maps)),
        texts=_packed(_texts(maps[0])),
        library=library,
        js=own,
    )


def _part(name: str) -> str:
    return files("embedsearch").joinpath("render", "map", name).read_text(encoding="utf-8")


def _filled(template: str, **parts: str) -> str:
    """A template with its {{names}} filled in, in one pass: what is filled in is not looked at again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    def hashes(texts: Sequence[str]) -> str:
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; style-src {hashes(styles)} '{EMPTY_HASH}'; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _title(maps: Sequence[MapPoints]) -> str:
    n = len(maps[0])
    labels = list(dict.fromkeys(one.label for one in maps))
    papers, them = (f"{n:,} papers", "them") if n != 1 else ("1 paper", "it")
    return f"{papers} as {' and '.join(labels)} see{'s' if len(labels) == 1 else ''} {them}"


def _paragraphs(caption: str) -> str:
    """No line begins with the sign of a percentage."""
    return "<br>".join(html.escape(line) for line in caption.splitlines()).replace(" %", "\u00a0%")


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: no `<` in it, so that none of its texts can end it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _about(maps: Sequence[MapPoints], by: ColourBy) -> dict[str, Any]:
    """What the page must know besides the points."""
    groups = by_category(maps[0].categories)
    year, density = by_year(maps[0].years), by_density(maps[0].density)
    known = maps[0].years[maps[0].years > 0]
    offered = {ColourBy.CATEGORY: any(maps[0].categories), ColourBy.YEAR: len(known) > 0, ColourBy.DENSITY: True}
    return {
        "n": len(maps[0]),
        "by": by.value,
        "offers": [choice.value for choice, is_known in offered.items() if is_known],
        "nShades": N_SHADES,
        "maps": [{"label": one.label, "regions": _regions(one)} for one in maps],
        "categories": sorted(set(maps[0].categories)),
        "category": {"names": groups.names, "colours": groups.colours, "counts": groups.counts},
        "year": {"ticks": year.ticks, "range": [int(known.min()), int(known.max())] if len(known) else [0, 0]},
        "density": {"ticks": density.ticks},
        "ramp": {"colours": [*_shade_colours(density.colours), OTHER]},
    }


def _regions(points: MapPoints) -> list[dict[str, Any]]:
    return [
        {
            "label": region.label,
            "terms": region.terms,
            "x": round(float(region.xy[0]), 4),
            "y": round(float(region.xy[1]), 4),
            "n": int(region.n),
            "level": int(region.level),
            "parent": int(region.parent),
        }
        for region in points.regions
    ]


def _shade_colours(stops: Sequence[str]) -> list[str]:
    """The colours of a scale at N_SHADES even places."""
    channels = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], np.float64)
    at = np.linspace(0, len(stops) - 1, N_SHADES)
    mixed = [np.interp(at, np.arange(len(stops)), channels[:, i]) for i in range(3)]
    return ["#" + "".join(f"{round(value):02X}" for value in colour) for colour in zip(*mixed, strict=True)]


def _shades(ramp: Ramp) -> NDArray[np.uint8]:
    known = np.isfinite(ramp.values)
    steps = np.clip(np.nan_to_num(ramp.values) * N_SHADES, 0, N_SHADES - 1)
    return np.where(known, steps, N_SHADES).astype(np.uint8)


def _numbers(maps: Sequence[MapPoints]) -> bytes:
    """Places in 1/65535 of the map, years, categories, and the numbers of colours: as data.js reads them."""
    first = maps[0]
    numbers = {name: i for i, name in enumerate(sorted(set(first.categories)))}
    columns: list[NDArray[Any]] = []
    for one in maps:
        columns += [np.rint((np.clip(one.xy[:, axis].astype(np.float64), -1, 1) + 1) * 32767.5) for axis in (0, 1)]
    columns += [np.maximum(first.years, 0), np.array([numbers[name] for name in first.categories])]
    wide = [column.astype("<u2") for column in columns]
    narrow = [by_category(first.categories).of.astype(np.uint8), _shades(by_year(first.years))]
    narrow += [_shades(by_density(one.density)) for one in maps]
    return b"".join(column.tobytes() for column in (*wide, *narrow))


def _texts(points: MapPoints) -> bytes:
    """Ids, titles and authors, a line each."""
    columns = (points.ids, points.titles, points.authors)
    return "\n".join(" ".join(text.split()) for column in columns for text in column).encode(errors="replace")
