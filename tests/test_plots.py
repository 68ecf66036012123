"""Figures: the bytes repeat, the text does not overlap, what cannot be written is said."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from embedsearch import plots
from embedsearch.errors import OptionError
from embedsearch.scores import pair_histogram, unit_rows

HISTOGRAM = pair_histogram(unit_rows(np.random.default_rng(0).normal(size=(200, 16)) + 0.5))


@pytest.mark.parametrize("suffix", plots.FORMATS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        plots.save_similarity_histogram(HISTOGRAM, tmp_path / "new" / f"{name}{suffix}", label="minilm")
    assert (tmp_path / "new" / f"a{suffix}").read_bytes() == (tmp_path / "new" / f"b{suffix}").read_bytes()


def test_what_is_drawn_is_what_was_counted() -> None:
    ax = plots.similarity_histogram(HISTOGRAM, label="x", ax=Figure().subplots())
    steps = ax.patches[0].get_data()  # type: ignore[attr-defined]
    assert (steps.values == HISTOGRAM.density).all()
    assert (steps.edges == HISTOGRAM.edges).all()


@pytest.mark.parametrize("label", ["minilm", "sentence-transformers/a-model-with-a-long-name"])
def test_the_legend_lies_inside_and_above_the_curve(label: str) -> None:
    with mpl.rc_context(plots.STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(plots.ONE_COLUMN, 2.4), layout="constrained")
        FigureCanvasAgg(figure)
        ax = plots.similarity_histogram(HISTOGRAM, label=label, ax=figure.subplots())
        figure.draw_without_rendering()
        box, frame = ax.texts[0].get_window_extent(), ax.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        under = HISTOGRAM.edges[1:] >= ax.transData.inverted().transform((box.x0, 0))[0]
        top = ax.transData.transform((0, HISTOGRAM.density[under].max()))[1]
        assert top <= box.y0
        assert ax.collections[0].get_window_extent().y1 <= box.y0


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"expected a figure named \*.png, \*.pdf, \*.svg, found 'x.gif'"):
        plots.save_similarity_histogram(HISTOGRAM, tmp_path / "x.gif", label="")
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"expected to write a figure to .*, found: "):
        plots.save_similarity_histogram(HISTOGRAM, tmp_path / "file" / "x.png", label="")
