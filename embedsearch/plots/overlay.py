"""The overlay: the distributions of all pairs, one over the other."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from embedsearch.pairs.figure import Panel
from embedsearch.plots.drawing import draw_curve, highest, shown_range
from embedsearch.plots.sheet import Block, Sheet
from embedsearch.plots.style import LOOKS

TITLE, AXIS, LEFT = 0.2, 0.36, 0.42


def block_height(width: float, *, title: str) -> float:
    """Inches that an overlay takes."""
    return _above(title) + 0.58 * width + AXIS


def _above(title: str) -> float:
    return TITLE if title else 0.05


def draw_overlay(sheet: Sheet, block: Block, panel: Panel) -> None:
    """A dotted line marks each mean."""
    sheet.title(block)
    ax = sheet.axes(block.left + LEFT, block.top + _above(block.title), block.width - LEFT - 0.1, 0.58 * block.width)
    curves = [space.curve for space in panel.spaces]
    top_of_all = highest(curves)
    for position, space in enumerate(panel.spaces):
        draw_curve(ax, space.curve, LOOKS[position], zorder=2 + position)
        peak = highest([space.curve])
        ax.vlines(
            space.mean.value, 0, peak, color=LOOKS[position].colour, linewidth=0.7, linestyle=(0, (1, 1.6)), zorder=9
        )
    ax.set_xlim(*shown_range(curves))
    ax.set_ylim(0, 1.06 * top_of_all)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.set_xlabel("cosine similarity", labelpad=2)
    ax.set_ylabel("density of pairs", labelpad=2)
