"""The figure of a comparison: the measures that are free of scale as dots with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedsearch.pairs.compare import CENTRED, RAW, Comparison
from embedsearch.pairs.compare.measured import NORMAL_95, Measured
from embedsearch.pairs.moments import Estimate
from embedsearch.plots import FONT, GREY, LOOKS, PALE, SMALL, TWO_COLUMNS, elided, journal_style, text_width
from embedsearch.render.comparison import LABELS, cka_label, labels

PER_ROW = 3
ROW = 0.2
"""Inches for each space in a panel."""
TITLE, AXIS, GAP, KEY = 0.24, 0.27, 0.06, 0.26
"""Inches: above and below a panel, between panels, and the key at the bottom."""
WIDEST_NAME = 1.6
"""Inches for the names at the left; longer ones lose their middle."""
CHANCE = {"auc": 0.5}

Value = Measured | Estimate


@dataclass(frozen=True, slots=True)
class Dots:
    """A panel: a line for each name, a dot for raw and one for centred."""

    title: str
    names: Sequence[str]
    raw: Sequence[Value | None]
    centred: Sequence[Value | None]
    colours: Sequence[str]
    chance: Sequence[float | None]


def comparison_figure(found: Comparison) -> Figure:
    """Two columns wide: a small panel for each measure, a line a space; below, what each agrees on with the first."""
    with journal_style():
        small = _measure_panels(found)
        wide = _agreement_panels(found)
        n_rows = math.ceil(len(small) / PER_ROW)
        row = TITLE + ROW * len(found.spaces) + AXIS
        rows = [row] * n_rows + [TITLE + ROW * len(panel.names) + AXIS for panel in wide]
        height = sum(rows) + GAP * (len(rows) - 1) + KEY
        figure = Figure(figsize=(TWO_COLUMNS, height))
        top = 0.0
        for i in range(n_rows):
            _draw_row(figure, small[i * PER_ROW : (i + 1) * PER_ROW], top, PER_ROW)
            top += row + GAP
        for panel, tall in zip(wide, rows[n_rows:], strict=True):
            _draw_row(figure, [panel], top, 1)
            top += tall + GAP
        _key(figure)
    return figure


def _measure_panels(found: Comparison) -> list[Dots]:
    names = labels(found)
    panels = []
    for measure, title in LABELS.items():
        raw, centred = ([space.panels[p].measures.get(measure) for space in found.spaces] for p in (RAW, CENTRED))
        if any(value is not None and math.isfinite(value.value) for value in (*raw, *centred)):
            colours = [_colour(i) for i in range(len(names))]
            panels.append(Dots(title, names, raw, centred, colours, [CHANCE.get(measure)] * len(names)))
    return panels


def _agreement_panels(found: Comparison) -> list[Dots]:
    names = [elided(name, FONT, WIDEST_NAME) for name in labels(found)]  # both are to be seen in a title
    panels = []
    for pair in found.pairs:
        raw, centred = pair.panels[RAW], pair.panels[CENTRED]
        lines: dict[str, tuple[Value | None, Value | None, float | None]] = {
            "Pearson": (raw.pearson, centred.pearson, 0.0),
            "Spearman": (Estimate(raw.spearman, math.nan), Estimate(centred.spearman, math.nan), 0.0),
        }
        for k, chance in found.chance.items():
            lines[f"overlap of {k} neighbours"] = (raw.overlap[k], centred.overlap[k], chance)
        for k, value in pair.cka.items():
            lines[cka_label(k).replace("directions", "dir.").replace("direction", "dir.")] = (None, value, 0.0)
        lines = {name: line for name, line in lines.items() if any(v and math.isfinite(v.value) for v in line[:2])}
        panels.append(
            Dots(
                f"{names[pair.first]} and {names[pair.second]}: what they agree on",
                list(lines),
                [line[0] for line in lines.values()],
                [line[1] for line in lines.values()],
                [_colour(pair.second)] * len(lines),
                [line[2] for line in lines.values()],
            )
        )
    return panels


def _colour(i: int) -> str:
    """The first look is a pale fill: as a dot it would be faint."""
    return (*(look.colour for look in LOOKS[1:]), "#0072B2")[i % len(LOOKS)]


def _draw_row(figure: Figure, panels: Sequence[Dots], top: float, per_row: int) -> None:
    """Panels side by side from `top` inches on; the names of the lines stand at the first alone."""
    width, height = figure.get_size_inches()
    names = [elided(name, SMALL, WIDEST_NAME if per_row > 1 else 2 * WIDEST_NAME) for name in panels[0].names]
    left = 0.12 + max(text_width(name, SMALL) for name in names)
    each = (width - left - 0.15 - (per_row - 1) * 0.22) / per_row
    tall = ROW * len(names)
    for i, panel in enumerate(panels):
        x = left + i * (each + 0.22)
        box = (x / width, (height - top - TITLE - tall) / height, each / width, tall / height)
        ax = figure.add_axes(box)
        _draw(ax, panel, names if i == 0 else None)
        ax.set_title(elided(panel.title, FONT, each + 0.1), fontsize=FONT, loc="left", pad=4)


def _draw(ax: Axes, panel: Dots, names: Sequence[str] | None) -> None:
    n = len(panel.names)
    for y in range(n):
        ax.axhline(y, color=PALE, linewidth=0.4, zorder=0)
        if (chance := panel.chance[y]) is not None:
            ax.plot([chance, chance], [y - 0.4, y + 0.4], color=GREY, linewidth=0.9, zorder=1)
        for value, shift, is_raw in ((panel.raw[y], -0.14, True), (panel.centred[y], 0.14, False)):
            _dot(ax, value, y + shift, panel.colours[y], is_raw=is_raw)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_yticks(range(n), names or [""] * n)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _dot(ax: Axes, value: Value | None, y: float, colour: str, *, is_raw: bool) -> None:
    if value is None or not math.isfinite(value.value):
        return
    if math.isfinite(value.error):
        reach = NORMAL_95 * value.error
        ax.plot([value.value - reach, value.value + reach], [y, y], color=colour, linewidth=1.1, zorder=2)
    face = "white" if is_raw else colour
    ax.plot([value.value], [y], "o", markersize=3.8, markerfacecolor=face, markeredgecolor=colour, zorder=3)


def _key(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    ax = figure.add_axes((0, 0, 1, KEY / height))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(0, KEY)
    x = 0.15
    entries: Mapping[str, str] = {
        "raw": "white", "centred": "black", "95 % interval": "line", "chance": "tick",
    }  # fmt: skip
    for text, kind in entries.items():
        y = KEY / 2
        if kind == "line":
            ax.plot([x - 0.06, x + 0.14], [y, y], color="black", linewidth=1.1)
        elif kind == "tick":
            ax.plot([x + 0.04] * 2, [y - 0.06, y + 0.06], color=GREY, linewidth=0.9)
        else:
            ax.plot([x + 0.04], [y], "o", markersize=3.8, markerfacecolor=kind, markeredgecolor="black")
        ax.text(x + 0.2, y, text, fontsize=SMALL, va="center_baseline")
        x += 0.2 + text_width(text, SMALL) + 0.3
