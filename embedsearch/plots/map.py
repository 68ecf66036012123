"""Maps of papers, one or two side by side: points, the names of regions, a key of the colours, and what it cannot show.

Up to MOST_POINTS papers are points; of more the shades of a picture show how many lie where. Both are one image in a
PDF, and all text stays text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke

from embedsearch.errors import OptionError
from embedsearch.map import ColourBy, Groups, MapPoints, Ramp, colouring
from embedsearch.plots.map_key import MapKey
from embedsearch.plots.map_labels import STEP, Placed, place_labels
from embedsearch.plots.map_shades import colours_of, shades
from embedsearch.plots.sheet import Sheet
from embedsearch.plots.style import FONT, GREY, PALE, SIZES, SMALL, TWO_COLUMNS, elided, journal_style, text_width

MOST_POINTS = 30_000
MARGIN, GUTTER = 0.06, 0.2
TITLE = 0.22
"""Inches above a map."""
BLANK = 0.03
"""Inches between two words."""
LINE = 0.125
"""Inches from line to line of what stands below."""
MOST_HEIGHT = 0.85
"""Of a map, by its width: a picture that is as high as it is wide leaves no room on a page."""


def map_figure(
    maps: Sequence[MapPoints], *, color: ColourBy | str = ColourBy.CATEGORY, size: str | None = None
) -> Figure:
    """Draw one map, or two of the same papers side by side in the same colours; computes nothing but shades.

    `size` is one-column (3.5 inches) or two-column (7.1, the default). Raises OptionError for another size.
    """
    size = size or "two-column"
    if size not in SIZES:
        raise OptionError(f"expected a size of {' or '.join(SIZES)}, found {size!r}")
    full = SIZES[size]
    n_columns = len(maps) if full >= TWO_COLUMNS else 1
    width = (full - 2 * MARGIN - GUTTER * (n_columns - 1)) / n_columns
    height = max(_height(one, width) for one in maps)
    colours = [colouring(one, color) for one in maps]
    with journal_style():
        key = MapKey(colours[0], width=full - 2 * MARGIN)
        lines = _caption_lines(maps, full - 2 * MARGIN)
        n_rows = -(-len(maps) // n_columns)
        above_key = MARGIN + n_rows * (TITLE + height + 0.08)
        above_text = above_key + key.height + 0.08
        sheet = Sheet(full, above_text + LINE * len(lines) + MARGIN)
        for i, (one, colour) in enumerate(zip(maps, colours, strict=True)):
            row, column = divmod(i, n_columns)
            left, top = MARGIN + column * (width + GUTTER), MARGIN + row * (TITLE + height + 0.08)
            sheet.text(left, top + 0.08, elided(one.label, FONT, width), size=FONT)
            _draw(sheet.axes(left, top + TITLE, width, height), one, colour, width, height)
        key.draw(sheet, left=MARGIN, top=above_key)
        for i, line in enumerate(lines):
            sheet.text(MARGIN, above_text + LINE * (i + 0.5), line, color=GREY)
    return sheet.figure


def _height(points: MapPoints, width: float) -> float:
    """Inches of a map's picture: as high as its papers need."""
    low, high = points.xy.min(axis=0), points.xy.max(axis=0)
    share = float((high[1] - low[1] + 0.1) / (high[0] - low[0] + 0.1))
    return width * min(max(share, 0.35), MOST_HEIGHT)


def _draw(ax: Axes, points: MapPoints, colours: Groups | Ramp, width: float, height: float) -> None:
    half_y = max(1.05 * height / width, 1.04 * float(np.abs(points.xy[:, 1]).max()))
    half_x = half_y * width / height
    rgb = colours_of(colours)
    extent = (-half_x, half_x, -half_y, half_y)
    if len(points) > MOST_POINTS:
        image = shades(points.xy, rgb, extent=extent, inches=width)
        ax.imshow(image, extent=extent, interpolation="nearest", aspect="auto")
    else:
        # In an order that is no category's: none lies over the others
        order = np.random.default_rng(0).permutation(len(points))
        area = min(max(0.22 * width * height * 72**2 / len(points), 0.4), 14.0)
        xy = points.xy[order]
        ax.scatter(
            xy[:, 0], xy[:, 1], s=area, c=rgb[order], alpha=0.65, marker="o", linewidths=0, rasterized=True
        )  # fmt: skip
    ax.set_xlim(-half_x, half_x)
    ax.set_ylim(-half_y, half_y)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE, linewidth=0.5)

    def at(xy: tuple[float, float]) -> tuple[float, float]:
        return (xy[0] + half_x) / (2 * half_x) * width, (xy[1] + half_y) / (2 * half_y) * height

    for name in place_labels(points, width=width, height=height, at=at):
        _write(ax, name, width, height)


def _write(ax: Axes, name: Placed, width: float, height: float) -> None:
    """A name, with a white edge that keeps it readable: the edge is drawn by itself, so that the text stays text."""
    edge = [Stroke(linewidth=1.8, foreground="white")]
    for i, line in enumerate(name.lines):
        up = name.y + name.size * STEP * ((len(name.lines) - 1) / 2 - i)
        for colour, effects in (("white", edge), ("black" if name.level == 0 else "#333333", None)):
            ax.text(
                name.x / width, up / height, line, transform=ax.transAxes, fontsize=name.size, ha="center",
                va="center_baseline", color=colour, path_effects=effects,
            )  # fmt: skip


def _caption_lines(maps: Sequence[MapPoints], width: float) -> list[str]:
    """The captions in lines of this many inches; what all maps have in common once, at the end."""
    paragraphs = [one.caption.split("\n") for one in maps]
    common = [text for text in paragraphs[0] if all(text in other for other in paragraphs[1:])]
    texts = [text for one in paragraphs for text in one if text not in common] + common
    return [line for text in texts for line in _wrapped(text, width)]


def _wrapped(text: str, width: float) -> list[str]:
    """In lines, by the widths of words: that of each line anew would take seconds. A number keeps its " %"."""
    lines: list[list[str]] = [[]]
    x = 0.0
    for word in text.replace(" %", "\u00a0%").split(" "):
        wide = text_width(word, SMALL)
        if lines[-1] and x + BLANK + wide > width:
            lines.append([])
        x = x + BLANK + wide if lines[-1] else wide
        lines[-1].append(elided(word, SMALL, width))
    return [" ".join(words) for words in lines]
