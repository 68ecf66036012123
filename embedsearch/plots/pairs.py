"""The figure of divergent pairs: results in, matplotlib out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedsearch.pairs.divergent import DivergentPairs
from embedsearch.plots import FONT, GREY, PALE, SMALL, TWO_COLUMNS, elided, journal_style, save_figure
from embedsearch.records import PairRecord
from embedsearch.render.pairs import heading, shown_titles

COLOURS = ("#0072B2", "#D55E00")
"""Of the first and the second space, Okabe & Ito's blue and vermilion; their marks are filled and open."""
MOST = 20
"""Pairs of a list that are drawn: more would not fit a page."""
ROW = 0.36
"""Inches that a pair takes."""
TITLES = 3.9
"""Inches of the titles left of the axes."""
BESIDE = 0.75
"""Inches of the cosines right of them."""


def save_pairs(result: DivergentPairs, path: Path) -> None:
    """Draw up to MOST pairs of each list, two columns wide, and write the figure: .png, .pdf or .svg.

    A row a pair: its titles, and where its cosine lies among all pairs in either space (by `raw`, the cosine itself).
    The same input gives the same bytes. Raises OptionError for another suffix or a path that cannot be written.
    """
    lists = [(closer, records[:MOST]) for closer, records in (("first", result.first), ("second", result.second))]
    lists = [(closer, records) for closer, records in lists if records] or [("first", ())]
    heights = [ROW * max(len(records), 1) for _, records in lists]
    with journal_style():
        top, bottom, gap = 0.28, 0.62, 0.3
        height = sum(heights) + top * len(lists) + bottom + gap * (len(lists) - 1)
        figure = Figure(figsize=(TWO_COLUMNS, height))
        above = height
        for (closer, records), tall in zip(lists, heights, strict=True):
            above -= top + tall
            wide = (TWO_COLUMNS - TITLES - BESIDE) / TWO_COLUMNS
            ax = figure.add_axes((TITLES / TWO_COLUMNS, above / height, wide, tall / height))
            _draw(ax, result, closer, records)
            above -= gap
        _name(ax, result)
        save_figure(figure, path)


def _draw(ax: Axes, result: DivergentPairs, closer: str, records: tuple[PairRecord, ...]) -> None:
    across = ax.get_yaxis_transform()
    for row, record in enumerate(records):
        values = record.cosines if result.measure == "raw" else record.percentiles
        ax.plot(values, [row, row], color=PALE, linewidth=1.4, zorder=1, solid_capstyle="butt", clip_on=False)
        _mark(ax, values[0], row, 0)
        _mark(ax, values[1], row, 1)
        _titles(ax, record, row)
        cosines = f"{record.cosines[0]:.2f} / {record.cosines[1]:.2f}"
        ax.text(1.05, row, cosines, transform=across, va="center", fontsize=SMALL, color=GREY)
    ax.set_ylim(len(records) - 0.5, -0.5)
    ax.set_xlim((-1, 1) if result.measure == "raw" else (0, 100))
    if result.measure == "raw" and records:
        found = [cosine for record in records for cosine in record.cosines]
        ax.set_xlim(min(0.0, *found), 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color=PALE, linewidth=0.3)
    ax.set_axisbelow(True)
    ax.text(1.05, 1.0, "cosines", transform=ax.transAxes, va="bottom", fontsize=SMALL, color=GREY)
    # The heading stands over titles and axes
    wide = 1.2 if result.measure == "conditional" else 1.9
    short = replace(result, labels=(elided(result.labels[0], FONT, wide), elided(result.labels[1], FONT, wide)))
    ax.annotate(
        heading(short, closer), (0, 1), xytext=(-72 * (TITLES - 0.1), 7), xycoords="axes fraction",
        textcoords="offset points", fontsize=FONT, fontweight="bold",
    )  # fmt: skip


def _mark(ax: Axes, value: float, row: int, space: int) -> None:
    face = COLOURS[0] if space == 0 else "white"
    ax.plot(
        [value], [row], marker="os"[space], markersize=4.2, markerfacecolor=face, markeredgecolor=COLOURS[space],
        markeredgewidth=1.0, linestyle="none", clip_on=False, zorder=3,
    )  # fmt: skip


def _titles(ax: Axes, record: PairRecord, row: int) -> None:
    """Two lines left of the axes, the rank before them."""
    place = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "fontsize": SMALL}
    wide = TITLES - 0.5
    ax.annotate(str(record.rank), (0, row), (-72 * (wide + 0.25), 0), ha="right", va="center", color=GREY, **place)  # type: ignore[arg-type]
    for up, title in zip((4.6, -4.6), shown_titles(record), strict=True):
        text = elided(title, SMALL, wide)
        ax.annotate(text, (0, row), (-72 * (wide + 0.15), up), va="center", ha="left", **place)  # type: ignore[arg-type]


def _name(ax: Axes, result: DivergentPairs) -> None:
    """Label the lowest axes, and say which mark is whose."""
    ax.set_xlabel("cosine" if result.measure == "raw" else "percentage of pairs whose cosine is below")
    for space, label in enumerate(result.labels):
        at = (-72 * (TITLES - 0.2), -11 - 11 * space)
        ax.annotate(
            "●□"[space], (0, 0), xytext=at, xycoords="axes fraction", textcoords="offset points",
            color=COLOURS[space], fontsize=FONT, va="top",
        )  # fmt: skip
        ax.annotate(
            elided(label, FONT, TITLES - 0.6), (0, 0), xytext=(at[0] + 11, at[1]), xycoords="axes fraction",
            textcoords="offset points", fontsize=FONT, va="top",
        )  # fmt: skip
