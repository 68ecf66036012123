"""Figures: no text meets another, the bytes repeat, the pictures are those that were looked at, errors are said."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import figure_samples as samples
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from embedsearch import plots
from embedsearch.errors import OptionError, StoreError
from embedsearch.plots.joint import power_text
from embedsearch.plots.ridgeline import percent, range_texts
from embedsearch.plots.style import LOOKS, elided, journal_style, text_width

BASELINES = Path(__file__).parent / "baselines"
RMS_ALLOWED = 6.0
"""Of 255, over the whole picture: another version of FreeType moves letters by less."""


def boxes(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """What must not meet: every text that is drawn, and every swatch, with its place in pixels."""
    texts = [*figure.texts]
    for ax in figure.axes:
        axes = (ax.xaxis, ax.yaxis) if ax.axison else ()
        for axis in axes:
            low, high = sorted(axis.get_view_interval())
            shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(text for tick in shown for text in (tick.label1, tick.label2))]
        texts += [ax.title, ax._left_title, ax._right_title, *ax.texts]  # type: ignore[attr-defined]
    for text in texts:
        if text.get_visible() and text.get_text().strip():
            yield text.get_text(), text.get_window_extent()
    for swatch in [*figure.patches, *figure.lines, *figure.artists]:
        extent = swatch.get_window_extent()
        if extent.width < figure.dpi:
            yield "a swatch", extent.padded(1)


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that meet, and texts that leave the page."""
    with journal_style():
        figure.set_dpi(200)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        found = list(boxes(figure))
    page = figure.bbox.padded(1)
    met = [(a, b) for (a, p), (b, q) in itertools.combinations(found, 2) if p.overlaps(q)]
    return met + [
        (name, "the edge") for name, p in found if not (page.contains(p.x0, p.y0) and page.contains(p.x1, p.y1))
    ]


SHAPES = [
    *itertools.product([2, 10, 20], [1, 2, 3, 4], [samples.LONG]),
    *itertools.product([10], [1, 2, 3, 4], ["m"]),
]


@pytest.mark.parametrize("size", ["one-column", "two-column"])
@pytest.mark.parametrize(("n_bins", "n_spaces", "label"), SHAPES)
def test_no_text_of_a_ridgeline_meets_another(n_bins: int, n_spaces: int, label: str, size: str) -> None:
    data = samples.figure(n_spaces, n_bins, by=(0, 1) if n_spaces == 2 else (0,), label=label)
    assert not overlaps(plots.similarity_figure(data, size=size))


@pytest.mark.parametrize("size", ["one-column", "two-column"])
@pytest.mark.parametrize("style", ["overlay", "joint"])
@pytest.mark.parametrize("label", ["m", samples.LONG])
@pytest.mark.parametrize("n_spaces", [1, 2, 4])
def test_no_text_of_another_style_meets_another(n_spaces: int, label: str, style: str, size: str) -> None:
    if style == "joint" and n_spaces == 1:
        return
    data = samples.figure(n_spaces, by=(), panels=("raw", "center"), label=label)
    assert not overlaps(plots.similarity_figure(data, style=style, size=size))


def test_panels_of_transforms_and_both_binnings() -> None:
    data = samples.figure(2, 10, by=(0, 1), panels=("raw", "remove-top:10"), label=samples.LONG)
    figure = plots.similarity_figure(data)
    assert len(figure.axes) == 4
    assert not overlaps(figure)


def test_texts_that_meet_are_found() -> None:
    figure = plots.similarity_figure(samples.figure())
    x, y = figure.texts[3].get_position()
    figure.text(x, y, "over it", transform=figure.dpi_scale_trans)
    assert any("over it" in pair for pair in overlaps(figure))
    figure.text(1.01, 0.5, "outside")
    assert ("outside", "the edge") in overlaps(figure)


def pixels(figure: Figure) -> NDArray[np.float64]:
    """The picture as the baselines are kept: 100 dots an inch, 0 to 255."""
    drawn = io.BytesIO()
    with journal_style():
        figure.savefig(drawn, format="png", dpi=100, metadata={"Software": None})
    drawn.seek(0)
    return np.asarray(imread(drawn), np.float64)[..., :3] * 255


def rms(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Root mean square difference; infinite where the sizes differ."""
    return float(np.sqrt(np.mean((a - b) ** 2))) if a.shape == b.shape else np.inf


PICTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ridgeline": ({}, {}),
    "both": ({"n_bins": 5, "by": (0, 1)}, {}),
    "overlay": ({"n_spaces": 4, "by": ()}, {"style": "overlay", "size": "one-column"}),
    "joint": ({"by": ()}, {"style": "joint"}),
}


@pytest.mark.parametrize("name", list(PICTURES))
def test_the_picture_is_the_one_that_was_looked_at(name: str, request: pytest.FixtureRequest) -> None:
    """To draw them anew after a change that is wanted: python tests/test_plots.py, and look at them."""
    sample, drawing = PICTURES[name]
    drawn = pixels(plots.similarity_figure(samples.figure(**sample), **drawing))
    kept = np.asarray(imread(BASELINES / f"{name}.png"), np.float64)[..., :3] * 255
    assert rms(drawn, kept) < RMS_ALLOWED


def test_a_changed_picture_is_refused() -> None:
    data = samples.figure()
    kept = pixels(plots.similarity_figure(data))
    panel = data.panels[0]
    changed = {
        "another bin": samples.figure(2, 11),
        "a space less": samples.figure(1),
        "spaces that are exchanged": replace(
            data, panels=(replace(panel, ridges=(replace(panel.ridges[0], spaces=panel.ridges[0].spaces[::-1]),)),)
        ),
        "curves that moved by half an sd": replace(
            data, panels=(replace(panel, ridges=(moved(panel.ridges[0]),)),)
        ),
    }  # fmt: skip
    for name, other in changed.items():
        assert rms(kept, pixels(plots.similarity_figure(other))) > 1.3 * RMS_ALLOWED, name
    assert rms(kept, pixels(plots.similarity_figure(data))) == 0


def moved(ridges: Any) -> Any:
    """Every curve that is not binned by, half an sd to the left."""
    other = ridges.spaces[1]
    curves = tuple(replace(curve, edges=curve.edges - samples.SDS[1] / 2) for curve in other.curves)
    return replace(ridges, spaces=(ridges.spaces[0], replace(other, curves=curves)))


@pytest.mark.parametrize("suffix", plots.FORMATS)
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        figure = plots.similarity_figure(samples.figure(), style="joint")
        plots.save_figure(figure, tmp_path / "new" / f"{name}{suffix}")
    assert (tmp_path / "new" / f"a{suffix}").read_bytes() == (tmp_path / "new" / f"b{suffix}").read_bytes()


def test_a_users_own_style_changes_nothing() -> None:
    import matplotlib as mpl

    kept = pixels(plots.similarity_figure(samples.figure()))
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 5, "axes.facecolor": "black"}):
        assert rms(kept, pixels(plots.similarity_figure(samples.figure()))) == 0


def test_fonts_are_embedded(tmp_path: Path) -> None:
    figure = plots.similarity_figure(samples.figure())
    plots.save_figure(figure, tmp_path / "f.pdf")
    plots.save_figure(figure, tmp_path / "f.svg")
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    svg = (tmp_path / "f.svg").read_text()
    assert "<text" not in svg
    assert "font-family" not in svg


def test_what_is_drawn_is_what_was_counted() -> None:
    data = samples.figure()
    figure = plots.similarity_figure(data)
    curve = data.panels[0].ridges[0].spaces[1].curves[4]
    lines = [np.asarray(line.get_data(), np.float64) for line in figure.axes[0].lines]
    middles = (curve.edges[1:] + curve.edges[:-1]) / 2
    highest = max(c.density.max() for c in data.panels[0].ridges[0].spaces[1].curves)
    seen = curve.density >= 0.004 * curve.density.max()
    expected = np.stack([middles, 4 + 1.55 * curve.density / highest])[:, seen]
    assert any(line.shape[1] == seen.sum() + 2 and np.allclose(line[:, 1:-1], expected) for line in lines)


def test_looks_are_told_apart_without_colour() -> None:
    assert len({(look.fill is None, str(look.line)) for look in LOOKS}) == len(LOOKS)
    assert len({look.colour for look in LOOKS}) == len(LOOKS)


def test_texts_beside_the_bins() -> None:
    ridges = samples.ridges(1, 2, 0)
    texts = range_texts(replace(ridges, edges=np.array([-0.1, 0.12345, 0.12445])))
    assert texts == ["−0.100 to 0.123", "0.123 to 0.124"]
    assert [percent(share) for share in (0.1, 0.0123, 0.0012, 0.0, 1e-6)] == [
        "10.0%",
        "1.2%",
        "0.12%",
        "0.0%",
        "<0.01%",
    ]
    assert [power_text(n) for n in (1, 1000, 10**4, 10**12)] == ["1", "1,000", "10⁴", "10¹²"]


def test_a_long_name_keeps_its_ends() -> None:
    shorter = elided(samples.LONG, 7, 1.5)
    assert (shorter[:5], shorter[-3:]) == (samples.LONG[:5], samples.LONG[-3:])
    assert text_width(shorter, 7) <= 1.5 < text_width(samples.LONG, 7)
    assert elided("short", 7, 1.5) == "short"


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(OptionError, match="expected a style of ridgeline, overlay, joint, found 'pie'"):
        plots.similarity_figure(samples.figure(), style="pie")
    with pytest.raises(OptionError, match="expected two spaces for a joint distribution"):
        plots.similarity_figure(samples.figure(1), style="joint")
    with pytest.raises(OptionError, match="expected a size of one-column or two-column, found 'a4'"):
        plots.similarity_figure(samples.figure(), size="a4")
    with pytest.raises(OptionError, match="expected pairs in bins"):
        plots.similarity_figure(samples.figure(by=()))


def test_what_cannot_be_written(tmp_path: Path) -> None:
    figure = Figure()
    with pytest.raises(OptionError, match=r"expected a figure named \*.png, \*.pdf, \*.svg, found 'x.gif'"):
        plots.save_figure(figure, tmp_path / "x.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"expected to write .*x\.png, found: "):
        plots.save_figure(figure, tmp_path / "file" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OptionError, match="found a folder of that name"):
        plots.save_figure(figure, tmp_path / "folder.png")
    (tmp_path / "beside.json").mkdir()
    with pytest.raises(OptionError, match=r"found a folder of that name: beside\.json"):
        plots.check_figure_path(tmp_path / "beside.png")


if __name__ == "__main__":
    from PIL import Image

    BASELINES.mkdir(exist_ok=True)
    for name, (sample, drawing) in PICTURES.items():
        picture = pixels(plots.similarity_figure(samples.figure(**sample), **drawing))
        Image.fromarray(picture.round().astype(np.uint8)).quantize(64).save(BASELINES / f"{name}.png", optimize=True)
