"""How figures look: sizes of journals' columns, fonts, and colours that every kind of colour vision tells apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import matplotlib as mpl
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

ONE_COLUMN = 3.5
"""Inches: the width of a column in most journals of the field."""
TWO_COLUMNS = 7.1
"""Inches: the width of both columns."""
SIZES = {"one-column": ONE_COLUMN, "two-column": TWO_COLUMNS}

FONT = 7.5
SMALL = 6.5
"""Points: of what stands beside and under the axes. Nothing is smaller."""

GREY = "#666666"
PALE = "#C8C8C8"

STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": FONT,
    "text.parse_math": False,  # a model may have a dollar in its name
    "text.hinting": "none",  # letters as wide in every resolution as they were measured
    "axes.unicode_minus": True,
    "axes.labelsize": FONT,
    "axes.titlesize": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # whole fonts, so that the text of a PDF stays text
    "svg.fonttype": "path",  # the letters themselves, which no machine can lack
    "svg.hashsalt": "embedsearch",  # else the same figure has other bytes each time
    "savefig.dpi": 300,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one space is drawn: told apart by colour, by greyscale, and by its line or fill."""

    colour: str
    line: Literal["-"] | tuple[float, tuple[float, ...]]
    width: float
    fill: str | None = None


LOOKS = (
    Look("#56B4E9", "-", 0.8, fill="#D3EBFA"),
    Look("#D55E00", "-", 1.1),
    Look("#000000", (0, (3.2, 1.4)), 1.0),
    Look("#009E73", (0, (4.5, 1.2, 1.0, 1.2)), 1.1),
    Look("#CC79A7", (0, (1.0, 1.0)), 1.2),
    Look("#0072B2", (0, (6.0, 1.5)), 1.0),
    Look("#E69F00", (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)), 1.1),
)
"""The palette of Okabe & Ito (2008), the first space filled, the others as lines of different dashes."""


@contextmanager
def journal_style() -> Iterator[None]:
    """STYLE over matplotlib's own defaults, whatever a user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        yield


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Inches that a text takes, by the font's outlines: the same for every format of file."""
    if not text.strip():
        return 0.0
    # A stop at both ends, since outlines know no blanks; taken off again
    path = TextPath((0, 0), f".{text}.", size=size, prop=FontProperties(family="DejaVu Sans"), usetex=False)
    stops = TextPath((0, 0), "..", size=size, prop=FontProperties(family="DejaVu Sans"), usetex=False)
    return float(path.get_extents().width - stops.get_extents().width) / 72 + 0.01


def elided(text: str, size: float, width: float) -> str:
    """`text` with its middle left out where it would be wider than `width` inches."""
    if text_width(text, size) <= width:
        return text

    def shortened(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"

    fits = bisect_right(range(len(text)), width, key=lambda kept: text_width(shortened(kept), size))
    return shortened(max(fits - 1, 0))
