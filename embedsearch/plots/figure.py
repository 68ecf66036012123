"""The whole similarity figure: blocks side by side, and the key under them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from embedsearch.errors import OptionError
from embedsearch.pairs.figure import JointView, Panel, Ridges, SimilarityFigure
from embedsearch.plots import joint, overlay, ridgeline
from embedsearch.plots.key import Key, transform_title
from embedsearch.plots.sheet import Block, Sheet
from embedsearch.plots.style import LOOKS, SIZES, TWO_COLUMNS, journal_style

STYLES = ("ridgeline", "overlay", "joint")
MARGIN = 0.06
GUTTER = 0.3
"""Inches between blocks."""
WIDEST = 5.0
"""Inches: a single distribution that is wider shows no more."""


Draw = Callable[[Sheet, Block], None]


def similarity_figure(data: SimilarityFigure, *, style: str = "ridgeline", size: str | None = None) -> Figure:
    """Draw all that was counted; computes nothing.

    `style` is ridgeline (needs bins), overlay, or joint (needs two spaces). `size` is one-column (3.5 inches) or
    two-column (7.1); by default what the blocks need. Raises OptionError for what cannot be drawn.
    """
    _check(data, style, size)
    parts = _parts(data, style)
    size = size or ("two-column" if len(parts) > 1 or len(data.panels[0].spaces) > 2 else "one-column")
    full = SIZES[size]
    n_columns = min(len(parts), 2 if full >= TWO_COLUMNS else 1)
    width = (full - 2 * MARGIN - GUTTER * (n_columns - 1)) / n_columns
    if n_columns == 1 and style != "ridgeline":
        width = min(width, WIDEST)
    step = _height(data, style, width, title=parts[0][0]) + GUTTER / 2
    above_key = MARGIN + math.ceil(len(parts) / n_columns) * step
    with journal_style():
        key = Key(data, width=full - 2 * MARGIN)
        sheet = Sheet(full, above_key + key.height + MARGIN)
        indent = (full - 2 * MARGIN - width) / 2 if n_columns == 1 else 0.0
        for i, (title, draw) in enumerate(parts):
            row, column = divmod(i, n_columns)
            left = MARGIN + indent + column * (width + GUTTER)
            draw(sheet, Block(left, MARGIN + row * step, width, title))
        key.draw(sheet, left=MARGIN, top=above_key)
    return sheet.figure


def _height(data: SimilarityFigure, style: str, width: float, *, title: str) -> float:
    if style == "ridgeline":
        return ridgeline.block_height(data.n_bins)
    return overlay.block_height(width, title=title) if style == "overlay" else joint.block_height(width)


def _check(data: SimilarityFigure, style: str, size: str | None) -> None:
    check_parts(len(data.panels[0].spaces), style)
    if size is not None and size not in SIZES:
        raise OptionError(f"expected a size of {' or '.join(SIZES)}, found {size!r}")
    if style == "ridgeline" and not data.n_bins:
        raise OptionError("expected pairs in bins for a ridgeline, found none")


def check_parts(n_spaces: int, style: str) -> None:
    """Raise OptionError where so many spaces cannot be drawn in this style: before their pairs are counted."""
    if style not in STYLES:
        raise OptionError(f"expected a style of {', '.join(STYLES)}, found {style!r}")
    if n_spaces > len(LOOKS):
        raise OptionError(f"expected at most {len(LOOKS)} spaces, which can be told apart, found {n_spaces}")
    if style == "joint" and n_spaces < 2:
        raise OptionError("expected two spaces for a joint distribution, found one: name another with --against")


def _parts(data: SimilarityFigure, style: str) -> list[tuple[str, Draw]]:
    """The title of each block, and what draws it."""
    parts: list[tuple[str, Draw]] = []
    for panel in data.panels:
        transform = transform_title(panel, data.panels)
        if style == "overlay":
            parts.append((transform, partial(_overlay, panel)))
        elif style == "joint":
            for view in panel.joints:
                spearman = panel.spaces[view.other].spearman
                said = "" if spearman is None else f"Spearman {spearman:.3f}"
                parts.append((": ".join(filter(None, (transform, said))), partial(_joint, panel, view)))
        else:
            for ridges in panel.ridges:
                said = f"in bins of {panel.spaces[ridges.by].label}"
                parts.append((": ".join(filter(None, (transform, said))), partial(_ridgeline, panel, ridges)))
    return parts


def _overlay(panel: Panel, sheet: Sheet, block: Block) -> None:
    overlay.draw_overlay(sheet, block, panel)


def _joint(panel: Panel, view: JointView, sheet: Sheet, block: Block) -> None:
    joint.draw_joint(sheet, block, panel, view)


def _ridgeline(panel: Panel, ridges: Ridges, sheet: Sheet, block: Block) -> None:
    ridgeline.draw_ridgeline(sheet, block, panel, ridges)
