"""The figure of a perplexity: how papers' bits per byte are distributed, and which surprise the first model most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from embedsearch.corpus import to_text
from embedsearch.language.surprise import Figures, Surprise
from embedsearch.measures import Interval
from embedsearch.plots.style import (
    FONT,
    GREY,
    LOOKS,
    PALE,
    SMALL,
    TWO_COLUMNS,
    Look,
    elided,
    journal_style,
)
from embedsearch.render.perplexity import EXTREMES

TITLES = 3.9
"""Inches at the left: the key above, the papers' titles below."""
MARGIN, AXIS = 0.08, 0.34
CURVES = 1.25
"""Inches: the height of the distributions."""
ROW, HEADING = 0.155, 0.2
"""Inches: a paper, and what stands above some."""
LINE = 0.15
"""Inches: a line of the key."""


def perplexity_figure(found: Surprise) -> Figure:
    """Two columns wide, one axis of bits per byte: above the distributions, below a line a paper, a dot a model."""
    most, least = found.extremes(EXTREMES)
    groups = [(name, rows) for name, rows in (("Most surprising", most), ("Least surprising", least)) if rows]
    key = LINE * (2 * len(found.models) + 1)
    top = max(CURVES, key) + 0.1
    height = MARGIN + top + sum(HEADING + ROW * len(rows) for _, rows in groups) + AXIS
    with journal_style():
        figure = Figure(figsize=(TWO_COLUMNS, height))
        curves = _axes(figure, MARGIN, max(CURVES, key))
        _draw_curves(curves, found)
        _draw_key(figure, found)
        papers = _axes(figure, MARGIN + top, height - MARGIN - top - AXIS)
        _draw_papers(figure, papers, found, groups, MARGIN + top)
        papers.set_xlim(curves.get_xlim())
        curves.tick_params(labelbottom=False)
        papers.set_xlabel("bits per byte")
        papers.xaxis.set_major_locator(MaxNLocator(6))
        curves.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def _look(i: int) -> Look:
    return LOOKS[i % len(LOOKS)]


def _dot_colour(i: int) -> str:
    """The first look is a pale fill: as a dot it would be faint."""
    return "#0072B2" if i % len(LOOKS) == 0 else _look(i).colour


def _axes(figure: Figure, top: float, tall: float) -> Axes:
    width, height = figure.get_size_inches()
    box = (TITLES / width, (height - top - tall) / height, (width - TITLES - MARGIN - 0.05) / width, tall / height)
    axes: Axes = figure.add_axes(box)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    return axes


def _draw_curves(ax: Axes, found: Surprise) -> None:
    edges, densities = found.distributions()
    highest = max(float(density.max()) for density in densities)
    for i, density in enumerate(densities):
        look, filled = _look(i), np.flatnonzero(density)
        first, last = filled[0], filled[-1] + 1  # a line along the axis would hide the others
        steps = (density[first:last], edges[first : last + 1])
        if look.fill:
            ax.stairs(*steps, fill=True, color=look.fill, zorder=1)
        ax.stairs(*steps, color=_dot_colour(i), linestyle=look.line, linewidth=look.width, zorder=2 + i)
        ax.plot([found.models[i].bits_per_byte.mean] * 2, [-0.07 * highest, 0], color=_dot_colour(i), linewidth=1.6)
    ax.set_ylim(-0.08 * highest, 1.04 * highest)
    ax.margins(x=0.02)


def _draw_key(figure: Figure, found: Surprise) -> None:
    width, height = figure.get_size_inches()
    y = MARGIN + LINE / 2
    for i, model in enumerate(found.models):
        look, at = _look(i), 1 - y / height
        handle = ([MARGIN / width, (MARGIN + 0.24) / width], [at, at])
        figure.add_artist(_line(*handle, _dot_colour(i), look))
        figure.text((MARGIN + 0.32) / width, at, elided(model.name, FONT, TITLES - 0.7), va="center", fontsize=FONT)
        said = f"{_said(model.bits_per_byte, 3)} bits per byte, perplexity {_said(model.perplexity, 2)}"
        figure.text((MARGIN + 0.32) / width, 1 - (y + LINE) / height, said, va="center", fontsize=SMALL, color=GREY)
        y += 2 * LINE
    n = len(found.papers)
    text = f"{n:,} paper{'s' * (n != 1)}; ticks under the curves: all bytes together."
    figure.text(MARGIN / width, 1 - y / height, text, va="center", fontsize=SMALL, color=GREY)


def _line(x: Sequence[float], y: Sequence[float], colour: str, look: Look) -> Line2D:
    return Line2D(x, y, color=colour, linestyle=look.line, linewidth=look.width + 0.4)


def _said(interval: Interval, digits: int) -> str:
    value = f"{interval.mean:,.{digits}f}"
    if math.isnan(interval.low):
        return value
    return f"{value} [{interval.low:,.{digits}f}, {interval.high:,.{digits}f}]"


def _draw_papers(
    figure: Figure, ax: Axes, found: Surprise, groups: Sequence[tuple[str, list[int]]], top: float
) -> None:
    """A line a paper; y of the axes is in inches from its top."""
    width, height = figure.get_size_inches()
    y = 0.0
    for name, rows in groups:
        to = f" to {found.models[0].name}" if len(found.models) > 1 else ""
        heading = elided(f"{name}{to}", FONT, TITLES - MARGIN)
        figure.text(MARGIN / width, 1 - (top + y + HEADING / 2) / height, heading, va="center", fontsize=FONT)
        y += HEADING
        for i in rows:
            middle = y + ROW / 2
            ax.axhline(middle, color=PALE, linewidth=0.4, zorder=0)
            _draw_dots(ax, found.models, i, middle)
            title = to_text(found.papers[i].title) or found.papers[i].id
            figure.text(
                (TITLES - 0.1) / width, 1 - (top + middle) / height, elided(title, SMALL, TITLES - 0.1 - MARGIN),
                va="center", ha="right", fontsize=SMALL,
            )  # fmt: skip
            y += ROW
    ax.set_ylim(y, 0)


def _draw_dots(ax: Axes, models: Sequence[Figures], paper: int, y: float) -> None:
    for i, model in enumerate(models):
        ax.plot([model.paper_bits[paper]], [y], "o", color=_dot_colour(i), markersize=3.4, zorder=2 + i)
