"""A figure that is laid out in inches: what stands where is known before it is drawn, so that no two texts meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from embedsearch.plots.style import FONT, SMALL, Look, elided

SWATCH = 0.24
"""Inches: the length of a sample of a line."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a part of the figure stands, in inches from the left and from the top, and the line above it."""

    left: float
    top: float
    width: float
    title: str


class Sheet:
    """Texts, swatches and axes at places in inches from the left and from the top."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
        """Axes whose upper left corner is there."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box, **options)

    def text(self, x: float, y: float, text: str, *, size: float = SMALL, ha: str = "left", **options: Any) -> None:
        """A text whose middle line is at `y`."""
        self.figure.text(
            x,
            self.height - y,
            text,
            transform=self.figure.dpi_scale_trans,
            fontsize=size,
            ha=ha,
            va="center_baseline",
            **options,
        )

    def title(self, block: Block) -> None:
        """The line above a block, as much of it as fits."""
        self.text(block.left, block.top + 0.07, elided(block.title, FONT, block.width), size=FONT)

    def swatch(self, x: float, y: float, look: Look, *, length: float = SWATCH) -> None:
        """A sample of a space's fill or line, from `x` on, its middle at `y`."""
        inches = self.figure.dpi_scale_trans
        middle = self.height - y
        if look.fill:
            box = Rectangle(
                (x, middle - 0.035),
                length,
                0.07,
                facecolor=look.fill,
                edgecolor=look.colour,
                linewidth=look.width,
                transform=inches,
            )
            self.figure.add_artist(box)
        else:
            line = Line2D(
                [x, x + length],
                [middle, middle],
                color=look.colour,
                linestyle=look.line,
                linewidth=look.width,
                transform=inches,
            )
            self.figure.add_artist(line)

    def rule(self, left: float, right: float, y: float, *, width: float = 0.5, colour: str = "black") -> None:
        """A horizontal line."""
        middle = self.height - y
        rule = Line2D(
            [left, right], [middle, middle], color=colour, linewidth=width, transform=self.figure.dpi_scale_trans
        )
        self.figure.add_artist(rule)
