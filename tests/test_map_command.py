"""The command map, and its figures: what is written, printed and refused."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from pathlib import Path

import corpora
import map_samples as samples
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from matplotlib.image import imread
from running import Done, run
from test_plots import overlaps

from embedsearch import plots
from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError
from embedsearch.map import Groups, colouring
from embedsearch.plots.map import _wrapped as wrapped
from embedsearch.plots.map import map_figure
from embedsearch.plots.map_shades import colours_of, shades
from embedsearch.store.space import Space


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the fake encoder, and files of vectors of its papers."""
    folder = tmp_path_factory.mktemp("maps")
    corpora.write(folder / "papers.jsonl", corpora.records(150))
    build_index(folder / "papers.jsonl", folder / "i", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    space = Space.open(folder / "i")
    random = np.random.default_rng(0)
    other = space.vectors @ random.normal(size=(8, 12)) + 0.2 * random.normal(size=(150, 12))
    np.savez(folder / "other.npz", ids=np.array(space.ids), vectors=other)
    order = random.permutation(150)
    np.savez(folder / "mixed.npz", ids=np.array(space.ids)[order], vectors=other[order])
    return folder


def draw(home: Path, *arguments: str, code: int = 0) -> Done:
    done = run("map", *arguments, cwd=home)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_bare_it_writes_a_page(home: Path) -> None:
    done = draw(home, "--index", "i")
    assert "figures/map.html: 150 papers" in done.stderr
    assert "What it cannot show: the axes mean nothing" in done.stderr
    assert done.stdout.splitlines()[0].split()[:2] == ["papers", "region,"]
    page = (home / "figures" / "map.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "What it cannot show" in page
    again = draw(home, "--index", "i", "--out", "again.html")
    assert again.stdout == done.stdout
    assert (home / "again.html").read_text() == page


def test_the_order_of_the_papers_changes_nothing(home: Path) -> None:
    places = []
    for name in ("other", "mixed"):
        done = draw(home, "--index", f"{name}.npz", "--out", f"{name}.png", "--table", f"{name}.csv", "--sample", "50")
        assert done.stdout == ""
        assert "No regions are named: no index that knows the papers' words was given." in done.stderr
        rows = list(csv.DictReader(io.StringIO((home / f"{name}.csv").read_text())))
        places.append([(row["id"], row["x"], row["y"]) for row in rows])
        assert {row["title"] for row in rows} == {""}
        assert {row["year"] for row in rows} == {"2020"}
    assert len(places[0]) == 50
    assert places[0] == places[1]


def test_two_side_by_side(home: Path) -> None:
    words = ("--index", "i", "--against", "other.npz", "--out", "two.png", "--table", "two.json", "--color", "year")
    done = draw(home, *words, "--format", "json")
    assert re.search(r"share \d+ % of a paper's 15 nearest in full", done.stderr)
    regions = json.loads(done.stdout)
    assert {region["level"] for region in regions} == {"coarse", "fine"}
    assert all(region["inside"] is None for region in regions if region["level"] == "coarse")
    rows = json.loads((home / "two.json").read_text())
    assert [row["id"] for row in rows[:150]] == [row["id"] for row in rows[150:]]
    assert rows[0]["title"].startswith("Paper ")
    assert {row["map"] for row in rows} == {Space.open(home / "i").label, "other"}
    assert [region["papers"] for region in regions if region["level"] == "coarse"]
    known = {region["terms"][0] for region in regions if region["terms"]}
    assert all(row["coarse"] is None or row["coarse"].split(" · ")[0] in known for row in rows)


def test_why_no_region_is_named(home: Path) -> None:
    done = draw(home, "--index", "i", "--sample", "5", "--out", "few.html")
    assert done.stdout == ""
    assert "No regions are named: too few papers lie together." in done.stderr


def test_regions_as_csv(home: Path) -> None:
    done = draw(home, "--index", "i", "--out", "c.svg", "--format", "csv", "-q")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(int(row["papers"]) for row in rows if row["level"] == "coarse") <= 150
    assert done.stderr == ""
    assert (home / "c.svg").read_bytes().startswith(b"<?xml")


REFUSED = {
    "unknown suffix": (("--out", "x.gif"), "expected a map named *.html, *.htm, *.png, *.pdf, *.svg, found 'x.gif'", 1),
    "unknown table": (("--table", "x.txt"), "expected a table named *.csv, *.json, found 'x.txt'", 1),
    "a size of a page": (("--size", "one-column"), "Expected --size with a figure", 2),
    "a folder": (("--out", "folder.png"), "expected to write a map to folder.png, found a folder of that name", 1),
    "no place": (("--out", "/proc/x/y.html"), "expected to write /proc/x/y.html, found: ", 1),
    "too large a sample": (("--sample", "10,000"), "expected a sample of at most 150 papers, all there are", 1),
    "no number": (("--sample", "some"), "expected a sample of at least 3 papers, or all, found 'some'", 1),
    "one neighbour": (("--neighbors", "1"), "1 is not in the range 2<=x<=200", 2),
    "unknown colour": (("--color", "red"), "'red' is not one of", 2),
    "no such space": (("--against", "nowhere"), "nowhere", 1),
    "unknown transform": (("--transform", "turn"), "expected a transform center, whiten:K", 1),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(home: Path, name: str) -> None:
    (home / "folder.png").mkdir(exist_ok=True)
    arguments, message, code = REFUSED[name]
    done = draw(home, "--index", "i", *arguments, code=code)
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_no_index(home: Path, tmp_path: Path) -> None:
    done = run("map", cwd=tmp_path)
    assert done.returncode == 1
    assert "indexes/default" in done.stderr


@pytest.mark.parametrize("color", ["category", "density", "year"])
@pytest.mark.parametrize("size", ["one-column", "two-column"])
@pytest.mark.parametrize("n_maps", [1, 2])
def test_no_text_of_a_map_meets_another(n_maps: int, size: str, color: str) -> None:
    maps = [samples.points(90, seed=i, label="a model of a long name " * 5) for i in range(n_maps)]
    figure = map_figure(maps, color=color, size=size)
    for ax in figure.axes:
        for text in list(ax.texts):
            if text.get_color() == "white":  # the edge of the name that stands on it
                text.remove()
    assert not overlaps(figure)


def test_text_stays_text_and_the_bytes_repeat(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        plots.save_figure(map_figure([samples.points(90)]), tmp_path / name)
    data = (tmp_path / "a.pdf").read_bytes()
    assert data == (tmp_path / "b.pdf").read_bytes()
    assert data.count(b"/Subtype /Image") >= 1
    streams = [zlib.decompress(found) for found in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", data, re.DOTALL)]
    page = max(streams, key=lambda stream: stream.count(b"BT"))
    # The title, three names of two lines each, the key, two lines of the caption
    assert page.count(b"BT") >= 1 + 6 + 4 + 2
    assert page.count(b" c\n") < 5000  # no circle of a paper is a path of its own


def test_no_line_of_a_caption_begins_with_a_percent_sign() -> None:
    text = "By chance 18 % of them."
    for width in np.linspace(0.3, 2, 30).tolist():
        lines = wrapped(text, width)
        assert not any(line.startswith("%") for line in lines)
        assert " ".join(lines).replace("\u00a0", " ") == text or width < 0.6  # narrower than a word


def test_many_papers_are_shades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = samples.points(90)
    whole = map_figure([points])
    monkeypatch.setattr("embedsearch.plots.map.MOST_POINTS", 50)
    shaded = map_figure([points])
    assert [len(figure.axes[0].images) for figure in (whole, shaded)] == [0, 1]
    plots.save_figure(shaded, tmp_path / "s.png")
    assert imread(tmp_path / "s.png").shape[1] == round(7.1 * 300)


def test_shades_have_the_colours_of_their_papers() -> None:
    xy = np.array([[-0.5, 0.5]] * 9 + [[0.5, -0.5]], np.float32)
    rgb = np.array([[1.0, 0, 0]] * 9 + [[0, 0, 1.0]])
    image = shades(xy, rgb, extent=(-1, 1, -1, 1), inches=0.5)
    up, down = image[25, 25], image[75, 75]  # the uppermost row first
    assert up[:3] == pytest.approx([1, 0, 0])
    assert down[:3] == pytest.approx([0, 0, 1])
    assert up[3] > down[3] > 0.1
    assert image[50, 50, 3] == 0


def test_colours_of_papers() -> None:
    points = samples.points(30)
    groups = colouring(points, "category")
    assert isinstance(groups, Groups)
    assert groups.names[-1] == "unknown"
    assert len(np.unique(colours_of(groups), axis=0)) == 4
    years = colours_of(colouring(points, "year"))
    assert (years[9] == years[19]).all()
    assert years[9] == pytest.approx([0xA6 / 255] * 3)


def test_sizes_are_those_of_journals() -> None:
    assert map_figure([samples.points(30)], size="one-column").get_figwidth() == plots.ONE_COLUMN
    with pytest.raises(OptionError, match="expected a size of one-column or two-column, found 'a4'"):
        map_figure([samples.points(30)], size="a4")
