"""The key of a map's colours: groups in rows, or a strip of a scale."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

from embedsearch.map import Groups, Ramp
from embedsearch.map.colours import OTHER, UNKNOWN
from embedsearch.plots.map_shades import ramp_map
from embedsearch.plots.sheet import Sheet
from embedsearch.plots.style import SMALL, text_width

ROW = 0.17
"""Inches that a row takes."""
DOT, BESIDE, GAP = 0.08, 0.05, 0.16
"""Inches of a spot of colour, from there to its text, and to the next."""
STRIP = 2.6
"""Inches of a strip at most."""


class MapKey:
    """Laid out as it is made, so that its `height` in inches is known before it is drawn."""

    def __init__(self, colours: Groups | Ramp, *, width: float) -> None:
        self._width = width
        self._spots: list[tuple[float, float, str, str]] = []
        self._ramp: Ramp | None = None
        if isinstance(colours, Groups):
            self._lay_out(colours)
        elif colours.ticks:
            self._ramp, self.height = colours, 2 * ROW
        else:
            self._spots, self.height = [(0.0, ROW / 2, OTHER, UNKNOWN)], ROW

    def _lay_out(self, groups: Groups) -> None:
        x, y = 0.0, ROW / 2
        for name, colour, n in zip(groups.names, groups.colours, groups.counts, strict=True):
            text = f"{name} {n:,}"
            wide = DOT + BESIDE + text_width(text, SMALL)
            if x and x + wide > self._width:
                x, y = 0.0, y + ROW
            self._spots.append((x, y, colour, text))
            x += wide + GAP
        self.height = y + ROW / 2

    def draw(self, sheet: Sheet, *, left: float, top: float) -> None:
        """Draw it there, in inches."""
        for x, y, colour, text in self._spots:
            self._draw_spot(sheet, left + x, top + y, colour, text)
        if self._ramp is not None:
            self._draw_ramp(sheet, self._ramp, left, top)

    def _draw_spot(self, sheet: Sheet, x: float, y: float, colour: str, text: str) -> None:
        middle = sheet.height - y - DOT / 2
        inches = sheet.figure.dpi_scale_trans
        sheet.figure.add_artist(Rectangle((x, middle), DOT, DOT, facecolor=colour, linewidth=0, transform=inches))
        sheet.text(x + DOT + BESIDE, y, text)

    def _draw_ramp(self, sheet: Sheet, ramp: Ramp, left: float, top: float) -> None:
        # The texts of the ends reach beyond the strip
        inset = max(text_width(text, SMALL) / 2 for _, text in ramp.ticks)
        wide = min(STRIP, self._width - 2 * inset - 0.8)  # what is unknown stands beside it
        strip = sheet.axes(left + inset, top + 0.05, wide, 0.09)
        strip.imshow(np.linspace(0, 1, 256)[None], cmap=ramp_map(ramp), aspect="auto", extent=(0, 1, 0, 1))
        strip.set_axis_off()
        for place, text in ramp.ticks:
            sheet.text(left + inset + place * wide, top + 0.14 + ROW / 2, text, ha="center")
        if np.isnan(ramp.values).any():
            self._draw_spot(sheet, left + 2 * inset + wide + GAP, top + 0.095, OTHER, UNKNOWN)
