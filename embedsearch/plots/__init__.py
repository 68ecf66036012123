"""Figures: results in, matplotlib out. Nothing is computed here.

Fit for a journal: one or two columns wide, fonts embedded, colours that are told apart in greyscale too, and the same
bytes for the same input.
"""

from embedsearch.plots.figure import STYLES, check_parts, similarity_figure
from embedsearch.plots.saving import FORMATS, check_figure_path, save_figure
from embedsearch.plots.style import (
    FONT,
    GREY,
    LOOKS,
    ONE_COLUMN,
    PALE,
    SIZES,
    SMALL,
    STYLE,
    TWO_COLUMNS,
    Look,
    elided,
    journal_style,
    text_width,
)

__all__ = [
    "FONT",
    "FORMATS",
    "GREY",
    "LOOKS",
    "ONE_COLUMN",
    "PALE",
    "SIZES",
    "SMALL",
    "STYLE",
    "STYLES",
    "TWO_COLUMNS",
    "Look",
    "check_figure_path",
    "check_parts",
    "elided",
    "journal_style",
    "save_figure",
    "similarity_figure",
    "text_width",
]
