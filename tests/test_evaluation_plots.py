"""Figures of an evaluation: they show what was found, no text meets another, and the bytes repeat."""

from __future__ import annotations

import functools
import io
import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from test_plots import overlaps

from embedsearch.evaluate.sizes import Ranked, SizeCurve, size_curve
from embedsearch.measures import Interval
from embedsearch.plots.evaluation import MARKERS, QualityCost, cost_figure, number, sizes_figure
from embedsearch.plots.style import journal_style

LONG = "sentence-transformers/all-MiniLM-L6-v2, fine-tuned on astro-ph by titles, whitened to 128"


@functools.cache
def curve(n_corpus: int = 1000, up_to: int | None = None, *, seed: int = 0) -> SizeCurve:
    random = np.random.default_rng(seed)
    ranks = np.minimum(random.geometric(0.4, size=60), n_corpus)
    return size_curve(Ranked(ranks=ranks, n_corpus=n_corpus, chances=(ranks - 1) / n_corpus + 1e-5), up_to=up_to)


def lines(figure: Figure) -> list[Line2D]:
    return list(figure.axes[0].lines)


def test_the_line_of_a_curve_is_its_means_and_the_band_its_interval() -> None:
    made = curve(1000, 100_000)
    figure = sizes_figure({"minilm": made})
    line = next(line for line in lines(figure) if len(line.get_xdata()) == len(made.points))
    assert list(line.get_xdata()) == [point.n_papers for point in made.points]
    assert list(line.get_ydata()) == [point.value.mean for point in made.points]
    bands = [path.vertices for band in figure.axes[0].collections for path in band.get_paths()]
    drawn = {(round(x), round(y, 9)) for vertices in bands for x, y in np.asarray(vertices)}
    for point in made.points:
        assert {(point.n_papers, round(point.value.low, 9)), (point.n_papers, round(point.value.high, 9))} <= drawn
    assert any(list(line.get_xdata()) == [1000, 1000] for line in lines(figure))
    assert figure.axes[0].get_ylabel() == "MRR@10"


def test_nothing_is_said_of_a_fit_where_there_is_none() -> None:
    figure = sizes_figure({"minilm": curve()})
    assert not any("fit" in text.get_text() for text in figure.texts)
    assert len(lines(figure)) == 1


POINTS = [
    QualityCost("minilm", 24.0, Interval(0.72, 0.69, 0.76), "dense"),
    QualityCost("minilm", 24.0, Interval(0.92, 0.90, 0.94), "hybrid"),
    QualityCost("smollm2", 290.0, Interval(0.50, 0.45, 0.55), "dense"),
]


def test_a_point_stands_at_its_cost_with_its_interval() -> None:
    drawn = [
        (line.get_marker(), list(line.get_xdata()), list(line.get_ydata()))
        for line in lines(cost_figure(POINTS, x_label="hours"))
    ]
    for point, marker in zip(POINTS, (MARKERS[0], MARKERS[1], MARKERS[0]), strict=True):
        assert (marker, [point.cost], [point.quality.mean]) in drawn
        assert ("None", [point.cost] * 2, [point.quality.low, point.quality.high]) in drawn
    names = [text.get_text() for text in cost_figure(POINTS, x_label="hours").texts]
    assert names == ["minilm", "smollm2", "dense", "hybrid"]
    assert [text.get_text() for text in cost_figure(POINTS[:1], x_label="hours").texts] == ["minilm"]


@pytest.mark.parametrize("cost", [1e-4, 3e9])
@pytest.mark.parametrize("spread", [1.0, 3.0, 40.0, 1e7])
def test_no_text_of_costs_meets_another(cost: float, spread: float) -> None:
    points = [
        QualityCost(f"{LONG} {i}", cost * spread ** (i / 3), Interval(0.5, 0.5 - i / 10, 0.5 + i / 10), kind)
        for i, kind in itertools.product(range(4), ("dense", "hybrid"))
    ]
    figure = cost_figure(points, x_label="hours to embed 3,000,000 papers")
    assert not overlaps(figure)
    shown = [tick for tick in figure.axes[0].get_xticks() if figure.axes[0].get_xlim()[0] <= tick]
    assert 2 <= len(shown) <= 6


@pytest.mark.parametrize("up_to", [None, 3_000_000])
@pytest.mark.parametrize("n_corpus", [1, 10_000])
@pytest.mark.parametrize("name", ["m", LONG])
def test_no_text_of_sizes_meets_another(name: str, n_corpus: int, up_to: int | None) -> None:
    assert not overlaps(sizes_figure({f"{name} {i}": curve(n_corpus, up_to, seed=i) for i in range(3)}))


def test_the_same_figure_has_the_same_bytes() -> None:
    def drawn() -> bytes:
        file = io.BytesIO()
        with journal_style():
            cost_figure(POINTS, x_label="hours").savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue()

    assert drawn() == drawn()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.002, "0.002"), (0.5, "0.5"), (1, "1"), (20, "20"), (10_000, "10,000"), (3e6, "3 M"), (2e9, "2 G")],
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert number(value) == text
