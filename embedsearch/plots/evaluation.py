"""Figures of an evaluation: quality against what it costs, and against the size of the corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from embedsearch.evaluate.sizes import SizeCurve
from embedsearch.measures import Interval
from embedsearch.plots.style import FONT, GREY, LOOKS, ONE_COLUMN, PALE, SMALL, Look, elided, journal_style, text_width

LEFT, RIGHT, TOP, BOTTOM = 0.5, 0.24, 0.14, 0.46
"""Inches around the axes."""
TALL = 2.2
"""Inches: the axes."""
KEY_ROW, SWATCH = 0.16, 0.28
MARKERS = ("o", "s", "D", "^", "v", "P", "X")


@dataclass(frozen=True, slots=True)
class QualityCost:
    """An entry: what it costs, on any scale above 0, and how good it is; each `kind`, such as a mode, has a marker."""

    name: str
    cost: float
    quality: Interval
    kind: str = ""


@dataclass(frozen=True, slots=True)
class _Item:
    """Of the key."""

    label: str
    line: Mapping[str, Any]

    @property
    def swatch(self) -> float:
        """Inches."""
        return 0.08 if "marker" in self.line else SWATCH

    @property
    def width(self) -> float:
        """Inches."""
        return self.swatch + 0.06 + text_width(self.label, SMALL)


def cost_figure(points: Sequence[QualityCost], *, x_label: str, y_label: str = "MRR@10") -> Figure:
    """A point with its 95 % interval an entry and kind; the cost on a logarithmic axis. One column wide."""
    names = list(dict.fromkeys(point.name for point in points))
    kinds = list(dict.fromkeys(point.kind for point in points))
    colours = {name: _look(i).colour for i, name in enumerate(names)}
    markers = {kind: MARKERS[i % len(MARKERS)] for i, kind in enumerate(kinds)}
    items = [_Item(name, _marked(colours[name], "o")) for name in names]
    if len(kinds) > 1:
        items += [_Item(kind, _marked("white", markers[kind])) for kind in kinds]
    with journal_style():
        figure, ax = _sheet(items)
        for point in points:
            colour, value = colours[point.name], point.quality
            ax.plot([point.cost] * 2, [value.low, value.high], color=colour, linewidth=1.1, zorder=2)
            mark = {**_marked(colour, markers[point.kind]), "markersize": 4.5}
            ax.plot([point.cost], [value.mean], zorder=3, **mark)
        costs = [point.cost for point in points]
        wide = max(2.0, (max(costs) / min(costs)) ** 0.1)
        _log(ax, min(costs) / wide, max(costs) * wide)
        _quality(ax, [point.quality for point in points])
        _labels(ax, x_label, y_label)
    return figure


def sizes_figure(curves: Mapping[str, SizeCurve], *, y_label: str = "") -> Figure:
    """A line with its 95 % band a curve; beyond the papers that are there the band is paler. One column wide."""
    looks = {name: _look(i) for i, name in enumerate(curves)}
    items = [_Item(name, _lined(looks[name])) for name in curves]
    beyond = any(point.extrapolated for curve in curves.values() for point in curve.points)
    if beyond:
        items.append(_Item("papers that are there; beyond: a fit", {"color": GREY, "linewidth": 0.8}))
    with journal_style():
        figure, ax = _sheet(items)
        if beyond:
            for n_corpus in {curve.n_corpus for curve in curves.values()}:
                ax.axvline(n_corpus, color=GREY, linewidth=0.8, zorder=1)
        for name, curve in curves.items():
            _draw(ax, curve, looks[name])
        sizes = [point.n_papers for curve in curves.values() for point in curve.points]
        _log(ax, max(min(sizes), 1), max(max(sizes), 2 * min(sizes)))
        _quality(ax, [point.value for curve in curves.values() for point in curve.points])
        measures = dict.fromkeys(curve.measure for curve in curves.values())
        _labels(ax, "papers in the corpus", y_label or ", ".join(measures))
    return figure


def _draw(ax: Axes, curve: SizeCurve, look: Look) -> None:
    here = [point for point in curve.points if not point.extrapolated]
    there = [*here[-1:], *(point for point in curve.points if point.extrapolated)]
    for points, opacity in ((here, 0.25), (there, 0.12)):
        x = [point.n_papers for point in points]
        low, high = [point.value.low for point in points], [point.value.high for point in points]
        ax.fill_between(x, low, high, color=look.colour, alpha=opacity, linewidth=0, zorder=1)
    means = [point.value.mean for point in curve.points]
    ax.plot([point.n_papers for point in curve.points], means, zorder=3, **_lined(look))


def _look(i: int) -> Look:
    """The first of LOOKS is a pale fill: as a line or a point it would be faint."""
    return LOOKS[1 + i % (len(LOOKS) - 1)]


def _marked(colour: str, marker: str) -> dict[str, Any]:
    edge = "black" if colour == "white" else colour
    return {
        "marker": marker,
        "markersize": 3.8,
        "markerfacecolor": colour,
        "markeredgecolor": edge,
        "linestyle": "none",
    }


def _lined(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "linestyle": look.line, "linewidth": look.width}


def _labels(ax: Axes, x_label: str, y_label: str) -> None:
    ax.set_xlabel(x_label, labelpad=3)
    ax.set_ylabel(elided(y_label, FONT, TALL), labelpad=3)


def _quality(ax: Axes, values: Sequence[Interval]) -> None:
    """Measures are shares: no more of the axis than there are, and never beyond 0 and 1."""
    low, high = min(value.low for value in values), max(value.high for value in values)
    room = max(0.06 * (high - low), 0.01)
    ax.set_ylim(max(0.0, low - room), min(1.0 + room / 2, high + room))
    ax.grid(axis="y", color=PALE, linewidth=0.4, zorder=0)
    ax.set_axisbelow(True)


def _log(ax: Axes, low: float, high: float) -> None:
    """The horizontal axis from `low` to `high`, with as few ticks as can be read."""
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    axis: Axis = ax.xaxis
    axis.set_major_locator(FixedLocator(_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers: some of each decade, or decades, or every other one or third of these."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits, step in (((1, 2, 3, 5, 7), 1), ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        found = [digit * 10.0**power for power in range(first, last + 1, step) for digit in digits]
        found = [tick for tick in found if low * 0.999 <= tick <= high * 1.001]
        if len(found) <= 6:
            break
    return found


def number(value: float) -> str:
    """0.02, 5, 10,000, 3 M: for an axis."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if value >= size * 0.9995:
            return f"{value / size:.4g}{unit}"
    return f"{value:,.0f}" if value >= 0.9995 else f"{value:.3g}"


def _sheet(items: Sequence[_Item]) -> tuple[Figure, Axes]:
    """Axes of one column, and below them the key."""
    rows = _rows(items)
    height = TOP + TALL + BOTTOM + KEY_ROW * len(rows) + 0.05
    figure = Figure(figsize=(ONE_COLUMN, height))
    ax = figure.add_axes(
        (LEFT / ONE_COLUMN, 1 - (TOP + TALL) / height, (ONE_COLUMN - LEFT - RIGHT) / ONE_COLUMN, TALL / height)
    )
    for i, row in enumerate(rows):
        y = 1 - (TOP + TALL + BOTTOM + KEY_ROW * (i + 0.5)) / height
        for left, item in row:
            ends = [left / ONE_COLUMN, (left + item.swatch) / ONE_COLUMN]
            middle = [sum(ends) / 2] if "marker" in item.line else ends
            figure.add_artist(Line2D(middle, [y] * len(middle), **item.line))
            x = left + item.swatch + 0.06
            label = elided(item.label, SMALL, ONE_COLUMN - x - 0.06)
            figure.text(x / ONE_COLUMN, y, label, fontsize=SMALL, va="center_baseline")
    return figure, ax


def _rows(items: Sequence[_Item]) -> list[list[tuple[float, _Item]]]:
    """(left in inches, item), row by row: as many in a row as there is room for."""
    rows: list[list[tuple[float, _Item]]] = [[]]
    left, end = LEFT, ONE_COLUMN - 0.06
    for item in items:
        if rows[-1] and left + item.width > end:
            rows.append([])
            left = LEFT
        start = left if left + item.width <= end else 0.06
        rows[-1].append((start, item))
        left = start + item.width + 0.18
    return rows
