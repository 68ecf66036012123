"""Figures: results in, matplotlib out. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from embedsearch.errors import OptionError
from embedsearch.scores import PairHistogram

ONE_COLUMN = 3.5
"""Inches: the width of a column in most journals of the field."""

STYLE: dict[str, object] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # whole fonts, so that the text of a PDF stays text
    "svg.hashsalt": "embedsearch",  # else the same figure has other bytes each time
    "savefig.dpi": 300,
}
BLUE = "#0072B2"  # of Okabe & Ito's palette, which all kinds of colour vision tell apart
FORMATS = (".png", ".pdf", ".svg")


def similarity_histogram(histogram: PairHistogram, *, label: str, ax: Axes) -> Axes:
    """The distribution of all pairwise cosines under one model, with its mean."""
    ax.stairs(histogram.density, histogram.edges, color=BLUE, linewidth=1.0, fill=False)
    ax.stairs(histogram.density, histogram.edges, color=BLUE, alpha=0.25, fill=True, linewidth=0)
    # As high as the curve: above it stands the text.
    ax.vlines(histogram.mean, 0, float(histogram.density.max()), color="black", linewidth=0.8, linestyle=(0, (4, 2)))
    ax.set_xlabel("cosine similarity of two papers")
    ax.set_ylabel("density of pairs")
    ax.set_ylim(bottom=0, top=1.4 * float(histogram.density.max()))
    ax.margins(x=0.02)
    ax.text(
        0.98,
        0.98,
        f"{label}\n{histogram.n_papers:,} papers, {histogram.n_pairs:,} pairs\n"
        f"mean {histogram.mean:.3f}, sd {histogram.sd:.3f}",
        transform=ax.transAxes,
        ha="right",
        va="top",
        fontsize=7,
        linespacing=1.4,
    )
    return ax


def save_similarity_histogram(histogram: PairHistogram, path: Path, *, label: str) -> None:
    """Draw `similarity_histogram` one column wide and write it; the same input gives the same bytes.

    The suffix of `path` names the format. Raises OptionError for another suffix or a path that cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"expected a figure named *{', *'.join(FORMATS)}, found {path.name!r}")
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(ONE_COLUMN, 2.4), layout="constrained")
        similarity_histogram(histogram, label=label, ax=figure.subplots())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No date and no version in the file: they would be the only thing that differs
            unstamped = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
            figure.savefig(path, metadata=unstamped[path.suffix.lower()])
        except OSError as error:
            raise OptionError(f"expected to write a figure to {path}, found: {error.strerror or error}") from error
