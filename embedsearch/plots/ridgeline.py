"""The ridgeline: in each bin the density of every space, one bin shifted above the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from embedsearch.pairs.figure import Panel, Ridges
from embedsearch.plots.drawing import draw_curve, highest, shown_range
from embedsearch.plots.sheet import Block, Sheet
from embedsearch.plots.style import GREY, LOOKS, PALE, SMALL, text_width

TITLE, HEADER, AXIS = 0.2, 0.3, 0.36
"""Inches above and below the curves."""
PEAK = 1.55
"""Rows that the highest curve of a space rises: so far may a bin reach into the next."""
SHARE, RATIO = 0.46, 0.3
"""Inches: width of the columns at the right."""
MINUS = "\N{MINUS SIGN}"


def row_height(n_bins: int) -> float:
    """Inches: a bin is at least as high as the text beside it."""
    return min(max(3.2 / n_bins, 0.19), 0.85)


def block_height(n_bins: int) -> float:
    """Inches that a ridgeline takes."""
    return TITLE + HEADER + (n_bins + PEAK - 1) * row_height(n_bins) + AXIS


def draw_ridgeline(sheet: Sheet, block: Block, panel: Panel, ridges: Ridges) -> None:
    """Ranges at the left, curves, shares of the pairs and ratios of sd at the right."""
    n_bins, row = len(ridges.n_pairs), row_height(len(ridges.n_pairs))
    ranges = range_texts(ridges)
    label_width = max(text_width(text, SMALL) for text in ranges) + 0.06
    columns = SHARE + RATIO * len(panel.spaces)
    height = (n_bins + PEAK - 1) * row
    left, width = block.left, block.width
    above = block.top + TITLE + HEADER
    sheet.title(block)
    ax = sheet.axes(left + label_width, above, width - label_width - columns, height)
    ax.set_ylim(0, n_bins + PEAK - 1)
    ax.set_xlim(*shown_range(curve for space in ridges.spaces for curve in space.curves))
    for position, space in enumerate(ridges.spaces):
        scale = PEAK / highest(space.curves)
        for b, curve in enumerate(space.curves):
            # Lower bins stand before higher ones, lines before fills
            zorder = 3 + 2 * (n_bins - b) + position / 10 + (0 if LOOKS[position].fill else 0.5)
            draw_curve(ax, curve, LOOKS[position], base=b, scale=scale, zorder=zorder, steps=position == ridges.by)
    for b in range(n_bins):
        ax.axhline(b, color=PALE, linewidth=0.5, zorder=1)
    _finish_axis(ax)
    for b, text in enumerate(ranges):
        y = above + height - (b + 0.3) * row
        sheet.text(left + label_width - 0.06, y, text, ha="right")
        _row_texts(sheet, ridges, b, right=left + width, y=y)
    _header(sheet, ridges, right=left + width, top=block.top + TITLE)


def _finish_axis(ax: Axes) -> None:
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.set_xlabel("cosine similarity", labelpad=2)


def _row_texts(sheet: Sheet, ridges: Ridges, b: int, *, right: float, y: float) -> None:
    n = len(ridges.spaces)
    sheet.text(right - RATIO * n - 0.04, y, percent(float(ridges.share[b])), ha="right")
    for position, space in enumerate(ridges.spaces):
        ratio = float(space.ratio[b])
        text = f"{ratio:.2f}" if ratio == ratio else "–"
        sheet.text(right - RATIO * (n - 1 - position) - 0.01, y, text, ha="right")


def _header(sheet: Sheet, ridges: Ridges, *, right: float, top: float) -> None:
    n = len(ridges.spaces)
    sheet.text(right, top + 0.06, "sd in bin / sd", ha="right", color=GREY)
    sheet.text(right - RATIO * n - 0.04, top + 0.19, "pairs", ha="right", color=GREY)
    for position in range(n):
        end = right - RATIO * (n - 1 - position) - 0.01
        sheet.swatch(end - 0.21, top + 0.19, LOOKS[position], length=0.2)


def range_texts(ridges: Ridges) -> list[str]:
    """Each bin's range with as many decimals as tell the edges apart, from 2 to 4."""
    edges: Sequence[float] = ridges.edges.tolist()
    for decimals in (2, 3, 4):
        # + 0.0: what is rounded to zero has no sign
        texts = [f"{round(edge, decimals) + 0.0:.{decimals}f}".replace("-", MINUS) for edge in edges]
        if len(set(texts)) == len(texts):
            break
    return [f"{low} to {high}" for low, high in pairwise(texts)]


def percent(share: float) -> str:
    """10.0%, 0.03%, <0.01%: at least two digits where there are so many."""
    if 0 < share < 5e-5:
        return "<0.01%"
    decimals = 1 if share >= 0.01 or share == 0 else 2
    return f"{100 * share:.{decimals}f}%"
