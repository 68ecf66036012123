"""The key under a figure: a table that names each space's line and gives mean, sd and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedsearch.pairs.figure import RAW, Panel, SimilarityFigure
from embedsearch.pairs.moments import Estimate
from embedsearch.plots.sheet import SWATCH, Sheet
from embedsearch.plots.style import GREY, LOOKS, SMALL, elided, text_width
from embedsearch.render.tables import shown

ROW, LINE = 0.155, 0.13
GAP, WIDE_GAP = 0.12, 0.5
"""Inches between columns, at least and at most."""


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers under a heading of two lines and, in a third, the name or the swatch of the space `by`."""

    heading: tuple[str, str, str]
    cells: tuple[str, ...]
    by: int | None = None

    @property
    def width(self) -> float:
        """Inches."""
        return max(text_width(text, SMALL) for text in (*self.heading, *self.cells))


class Key:
    """The rows of the key, one a space and transform, measured before they are drawn."""

    def __init__(self, data: SimilarityFigure, *, width: float) -> None:
        self._width = width
        self._note = _note(data, width)
        self._columns = _columns(data)
        several = len(data.panels) > 1
        self._rows = [
            (position, f"{space.label}, {panel.transform}" if several else space.label)
            for panel in data.panels
            for position, space in enumerate(panel.spaces)
        ]
        self._n_lines = 3 if any(column.heading[0] for column in self._columns) else 1
        self._header = 0.06 + 0.12 * self._n_lines
        room = width - sum(column.width + GAP for column in self._columns) - SWATCH - 0.08
        # Where a name does not fit beside its numbers, it has a line of its own.
        self._own_line = max(text_width(label, SMALL) for _, label in self._rows) > room

    @property
    def height(self) -> float:
        """Inches."""
        return self._header + ROW * len(self._rows) * (1 + self._own_line) + LINE * len(self._note) + 0.07

    def draw(self, sheet: Sheet, *, left: float, top: float) -> None:
        """Draw it with its upper left corner there."""
        right = left + self._width
        sheet.rule(left, right, top)
        ends = self._ends(left)
        for column, end in zip(self._columns, ends, strict=True):
            for row, text in enumerate(column.heading[-self._n_lines :]):
                sheet.text(end, top + 0.08 + 0.12 * row, text, ha="right", color=GREY)
            if column.by is not None:
                sheet.swatch(end - 0.2, top + 0.32, LOOKS[column.by], length=0.2)
        y = top + self._header
        sheet.rule(left, right, y - 0.015, width=0.4)
        for i, (position, label) in enumerate(self._rows):
            sheet.swatch(left, y + ROW / 2, LOOKS[position])
            room = self._width - SWATCH - 0.08
            sheet.text(left + SWATCH + 0.08, y + ROW / 2, elided(label, SMALL, room))
            y += ROW if self._own_line else 0
            for column, end in zip(self._columns, ends, strict=True):
                sheet.text(end, y + ROW / 2, column.cells[i], ha="right")
            y += ROW
        sheet.rule(left, right, y + 0.025)
        for i, line in enumerate(self._note):
            sheet.text(left, y + 0.12 + i * LINE, line, color=GREY)

    def _ends(self, left: float) -> list[float]:
        """The right edge of each column: not further from the names than can be followed by eye."""
        numbers = sum(column.width for column in self._columns)
        names = SWATCH + 0.08 + max(text_width(label, SMALL) for _, label in self._rows)
        spare = self._width - numbers - (0 if self._own_line else names)
        gap = min(max(spare / len(self._columns), GAP), WIDE_GAP)
        at = left + (self._width - numbers - gap * len(self._columns) if self._own_line else names)
        return [at := at + gap + column.width for column in self._columns]


def _columns(data: SimilarityFigure) -> list[Column]:
    views = [space for panel in data.panels for space in panel.spaces]
    columns = [
        Column(("", "", "mean"), tuple(_number(space.mean) for space in views)),
        Column(("", "", "sd"), tuple(_number(space.sd) for space in views)),
    ]
    if len(data.panels[0].spaces) > 1:
        cells = tuple("–" if space.spearman is None else f"{space.spearman:.3f}" for space in views)
        columns.append(Column(("Spearman", "with", ""), cells, by=0))
    for i, ridges in enumerate(data.panels[0].ridges):
        cells = tuple(_ratio(panel, i, position) for panel in data.panels for position in range(len(panel.spaces)))
        columns.append(Column(("sd in", "bins of", ""), cells, by=ridges.by))
    return columns


def _number(estimate: Estimate) -> str:
    """With its error, a true minus sign, and no minus before a zero."""
    text = shown(estimate)
    if text.startswith("-") and not text.strip("-0.,"):
        text = text[1:]
    return text.replace("-", "\N{MINUS SIGN}")


def _ratio(panel: Panel, i: int, position: int) -> str:
    ratio = panel.ridges[i].spaces[position].pooled_ratio
    return f"{ratio:.2f}" if ratio == ratio else "–"


def _note(data: SimilarityFigure, width: float) -> list[str]:
    """What the numbers are, in as many lines as it takes."""
    text = f"{data.n_papers:,} papers, {data.n_pairs:,} pairs. Errors: jackknife over papers."
    if data.n_bins:
        kind = "count" if data.binning == "quantile" else "width"
        text += f" {data.n_bins} bins of equal {kind}; one scale of density for each space."
        text += " sd in bins: pooled over the bins, over the sd of all pairs."
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(longer, SMALL) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def transform_title(panel: Panel, panels: Sequence[Panel]) -> str:
    """What is said of a panel's transform: nothing where all is raw."""
    return "" if len(panels) == 1 and panel.transform == RAW else panel.transform
