"""The joint distribution of the cosines of two spaces, with the distribution of each at its side."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from embedsearch.pairs.curves import Curve
from embedsearch.pairs.figure import JointView, Panel
from embedsearch.pairs.histograms import Counts
from embedsearch.plots.drawing import trimmed
from embedsearch.plots.sheet import Block, Sheet
from embedsearch.plots.style import FONT, LOOKS, Look, elided
from embedsearch.scores import Float64

TITLE, AXIS, LEFT, STRIP, GAP, BAR = 0.2, 0.38, 0.5, 0.4, 0.05, 0.62


def side(width: float) -> float:
    """Inches: the side of the square."""
    return width - LEFT - STRIP - GAP - BAR


def block_height(width: float) -> float:
    """Inches that a joint distribution takes."""
    return TITLE + STRIP + GAP + side(width) + AXIS


def draw_joint(sheet: Sheet, block: Block, panel: Panel, joint: JointView) -> None:
    """The first space along x, the other along y; the colour is the logarithm of the pairs in a cell."""
    left, top, square = block.left, block.top, side(block.width)
    first, second = panel.spaces[0], panel.spaces[joint.other]
    looks = LOOKS[0], LOOKS[joint.other]
    above = top + TITLE + STRIP + GAP
    sheet.title(block)
    ax = sheet.axes(left + LEFT, above, square, square)
    mesh = ax.pcolormesh(
        joint.first_edges,
        joint.second_edges,
        joint.counts.T,
        cmap="cividis",
        norm=LogNorm(vmin=1, vmax=max(float(joint.counts.max()), 2.0)),
        rasterized=True,  # cells of a PDF show seams
    )
    x_range = _occupied(joint.first_edges, joint.counts.sum(axis=1))
    y_range = _occupied(joint.second_edges, joint.counts.sum(axis=0))
    ax.set_xlim(*x_range)
    ax.set_ylim(*y_range)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.set_xlabel(elided(f"cosine in {first.label}", FONT, square), labelpad=2)
    ax.set_ylabel(elided(f"cosine in {second.label}", FONT, square), labelpad=2)
    strip = sheet.axes(left + LEFT, top + TITLE, square, STRIP)
    _marginal(strip, first.curve, looks[0], upright=False)
    strip.set_xlim(*x_range)
    strip = sheet.axes(left + LEFT + square + GAP, above, STRIP, square)
    _marginal(strip, second.curve, looks[1], upright=True)
    strip.set_ylim(*y_range)
    bar = sheet.axes(left + LEFT + square + GAP + STRIP + 0.12, above, 0.09, square)
    colours = sheet.figure.colorbar(mesh, cax=bar)
    colours.outline.set_linewidth(0.5)
    bar.yaxis.set_major_locator(LogLocator(10, numticks=6))
    bar.yaxis.set_minor_locator(NullLocator())
    bar.yaxis.set_major_formatter(FuncFormatter(lambda n, _: power_text(n)))
    bar.set_title("pairs", fontsize=FONT, pad=4, loc="left")


def _occupied(edges: Float64, counts: Counts) -> tuple[float, float]:
    """All cells that hold a pair: one pair can be seen in this picture."""
    filled = np.flatnonzero(counts)
    return float(edges[filled[0]]), float(edges[filled[-1] + 1])


def power_text(n: float) -> str:
    """1, 10, 100, 1,000, then 10⁴ and so on."""
    exponent = round(math.log10(n))
    if exponent < 4:
        return f"{round(n):,}"
    return "10" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _marginal(ax: Axes, curve: Curve, look: Look, *, upright: bool) -> None:
    """A density without axes, along x or y."""
    curve = trimmed(curve)
    orientation: Literal["horizontal", "vertical"] = "horizontal" if upright else "vertical"
    ax.stairs(
        curve.density, curve.edges, orientation=orientation, fill=True, linewidth=0,
        facecolor=look.fill or "#EEEEEE",
    )  # fmt: skip
    ax.stairs(
        curve.density, curve.edges, orientation=orientation, color=look.colour, linestyle=look.line,
        linewidth=look.width,
    )  # fmt: skip
    ax.set_axis_off()
    (ax.set_xlim if upright else ax.set_ylim)(0, None)
