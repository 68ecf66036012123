"""Curves in a space's look, and the range that is worth showing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

from embedsearch.pairs.curves import Curve
from embedsearch.plots.style import Look

SHOWN_FROM = 0.004
"""A density below this share of its highest is thinner than a line: the axis need not reach it."""


def draw_curve(
    ax: Axes, curve: Curve, look: Look, *, base: float = 0.0, scale: float = 1.0, zorder: float = 2, steps: bool = False
) -> None:
    """A density over `base`, times `scale`: through the middle of its steps, or with `steps` as they are."""
    curve = trimmed(curve)
    if not len(curve.density):
        return
    heights = curve.density * scale
    if steps:
        x, y = np.repeat(curve.edges, 2), np.concatenate([[0], np.repeat(heights, 2), [0]])
    else:
        middles = (curve.edges[:-1] + curve.edges[1:]) / 2
        x, y = np.concatenate([curve.edges[:1], middles, curve.edges[-1:]]), np.concatenate([[0], heights, [0]])
    if look.fill:
        ax.fill(x, base + y, facecolor=look.fill, linewidth=0, zorder=zorder)
    ax.plot(
        x, base + y, color=look.colour, linestyle=look.line, linewidth=look.width, zorder=zorder + 0.2,
        solid_joinstyle="round", dash_capstyle="butt",
    )  # fmt: skip


def trimmed(curve: Curve) -> Curve:
    """Without the ends that would lie on the base line."""
    if not len(curve.density):
        return curve
    seen = np.flatnonzero(curve.density >= SHOWN_FROM * curve.density.max())
    first, last = int(seen[0]), int(seen[-1]) + 1
    return Curve(edges=curve.edges[first : last + 1], density=curve.density[first:last])


def shown_range(curves: Iterable[Curve]) -> tuple[float, float]:
    """From the first to the last cosine at which a curve can be seen, and a little more."""
    low, high = np.inf, -np.inf
    for curve in curves:
        if len(curve.density):
            edges = trimmed(curve).edges
            low, high = min(low, float(edges[0])), max(high, float(edges[-1]))
    if not low < high:
        return (low - 0.5, high + 0.5) if np.isfinite(low) else (0.0, 1.0)
    margin = 0.02 * (high - low)
    return low - margin, high + margin


def highest(curves: Iterable[Curve]) -> float:
    """The highest density of all curves; 1 where there is none."""
    return max((float(curve.density.max()) for curve in curves if len(curve.density)), default=1.0)
