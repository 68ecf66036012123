"""The command, its tables and its figure; titles of a store."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from matplotlib.text import Text
from running import run

from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import sample_key
from embedsearch.encoders import Role
from embedsearch.pairs.compare import Comparison, Options, compare
from embedsearch.pairs.compare.categories import primary_categories
from embedsearch.pairs.compare.known_items import known_items, model_is_here
from embedsearch.plots.comparison import comparison_figure
from embedsearch.render import comparison as compare_tables
from embedsearch.render.tables import FORMATS
from embedsearch.scores import unit_rows
from embedsearch.store.space import Space


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of the same 60 papers, and a file of vectors of 50 of them."""
    folder = tmp_path_factory.mktemp("compare")
    corpora.write(folder / "papers.jsonl", corpora.records(60))
    for name in ("one", "two"):
        options = BuildOptions(transform="center" if name == "two" else None)
        build_index(folder / "papers.jsonl", folder / name, encoder=FakeEncoder(name), options=options)
    ids = np.array(Space.open(folder / "one").ids[:50])
    np.savez(folder / "file.npz", ids=ids, vectors=np.random.default_rng(0).normal(size=(50, 6)))
    return folder


def made(n_spaces: int, *, names: str = "model") -> Comparison:
    random = np.random.default_rng(0)
    ids = [f"p{i:03d}" for i in range(60)]
    spaces = [Space.of(ids, unit_rows(random.normal(size=(60, 8)) + 0.5), name=f"{names}{i}") for i in range(n_spaces)]
    categories = [("a", "b")[i % 2] for i in range(60)]
    return compare(spaces, categories=categories, options=Options(overlaps=(10, 20), n_halves=4))


def test_titles_are_encoded_into_the_space(folder: Path) -> None:
    space = Space.open(folder / "one").sample(40)
    encoder = FakeEncoder("one")
    found = known_items(folder / "one", space, n_titles=15, encoder=encoder)
    assert found is not None
    wanted = sorted(space.ids, key=lambda id: sample_key(id, 0))[:15]
    assert [space.ids[i] for i in found.positions] == wanted
    titles = {record["id"]: record["title"] for record in corpora.records(60)}
    expected = encoder.encode([titles[id] for id in wanted], role=Role.QUERY)
    np.testing.assert_allclose(found.queries, expected, atol=1e-6)


def test_titles_follow_the_store_s_transform_and_then_the_caller_s(folder: Path) -> None:
    encoder = FakeEncoder("two")
    plain = known_items(folder / "one", Space.open(folder / "one"), n_titles=9, encoder=encoder)
    stored = Space.open(folder / "two")
    moved = known_items(folder / "two", stored, n_titles=9, encoder=encoder)
    later = known_items(folder / "two", stored.transformed("truncate:3"), n_titles=9, encoder=encoder)
    assert plain is not None
    assert moved is not None
    assert later is not None
    raw = Space.open(folder / "one")
    expected = plain.centred(raw.vectors.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(moved.queries, expected.queries, atol=1e-3)
    np.testing.assert_allclose(later.queries, unit_rows(moved.queries[:, :3]), atol=1e-6)


def test_whether_a_model_is_here(folder: Path) -> None:
    assert not model_is_here(folder / "one")  # its encoder was an object
    assert not model_is_here(folder / "nowhere")


def test_primary_categories_come_from_the_first_store_that_knows_the_paper(folder: Path) -> None:
    ids = [record["id"] for record in corpora.records(3)]
    assert primary_categories([*ids, "unknown"], [folder / "one"]) == [*corpora.CATEGORIES, None]
    assert primary_categories(ids, []) == [None] * 3


def test_two_stores_and_a_file(folder: Path) -> None:
    done = run("compare", folder / "one", folder / "two", folder / "file.npz", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n_papers"] == 50
    assert found["n_categories"] == 3
    assert [pair["second"] for pair in found["pairs"]] == [1, 2]
    assert found["spaces"][0]["raw"]["auc"]["error"] > 0
    assert found["spaces"][1]["recipe"]["transform"] == "center"
    assert "50 papers in common" in done.stderr
    assert "a file has no model to encode titles with" in done.stderr


def test_alone_it_is_the_index(folder: Path) -> None:
    done = run("compare", "--index", folder / "one", "--sample", "30", "--no-known-items", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "30 papers, 435 pairs; 3 primary categories" in done.stdout
    assert "CKA" not in done.stdout
    assert not done.stderr


def test_categories_of_files_come_from_the_index(folder: Path) -> None:
    file = folder / "file.npz"
    without = run("compare", file, cwd=folder)
    assert "AUC" not in without.stdout
    assert "no categories: name an index that knows these papers with --index" in without.stderr
    assert "AUC" in run("compare", file, "--index", folder / "one", cwd=folder).stdout


def test_a_model_that_is_asked_for_and_not_here_is_said(folder: Path) -> None:
    done = run("compare", folder / "one", "--known-items", cwd=folder)
    assert done.returncode == 0
    assert "expected the encoder object that made the vectors" in done.stderr


def test_the_figure_and_its_numbers(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "c.png"
    arguments = ("compare", folder / "one", folder / "file.npz", "--no-known-items", "--out", out)
    assert run(*arguments, cwd=folder).returncode == 0
    first = out.read_bytes()
    read = json.loads(out.with_suffix(".json").read_text())
    assert read["pairs"][0]["raw"]["overlap"]["10"]["chance"] == pytest.approx(10 / 49)
    assert read["command"].startswith("embedsearch compare")
    run(*arguments, cwd=folder)
    assert out.read_bytes() == first


def test_a_figure_that_cannot_be_is_refused_beforehand(folder: Path) -> None:
    done = run("compare", folder / "one", "--out", "c.jpeg", cwd=folder)
    assert done.returncode == 1
    assert "expected a figure named *.png, *.pdf, *.svg, found 'c.jpeg'" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("n_spaces", [1, 2, 4])
@pytest.mark.parametrize(
    "names", ["m", "organisation/a-very-long-name-of-a-model-that-goes-on-and-on", f"model_{'xyz_' * 20}"]
)
def test_no_texts_of_the_figure_meet(n_spaces: int, names: str) -> None:
    figure = comparison_figure(made(n_spaces, names=names))
    figure.canvas.draw()
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent().padded(-0.5)) for t in texts]
    for i, (text, box) in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 + 1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert not [other for other, b in boxes[i + 1 :] if box.overlaps(b)], text


@pytest.mark.parametrize("n_spaces", [1, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_of_any_number_of_spaces(n_spaces: int, format: str) -> None:
    text = compare_tables.to_text(made(n_spaces), format)
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        auc = [row for row in rows if row["of"] == "space" and row["measure"] == "auc" and row["panel"] == "raw"]
        assert len(auc) == n_spaces
        assert float(auc[0]["low"]) < float(auc[0]["value"]) < float(auc[0]["high"])
    elif format == "latex":
        assert text.count(r"\begin{tabular}") == (3 if n_spaces > 1 else 1)
    else:
        assert "model0" in text


def test_spaces_of_one_model_are_told_apart() -> None:
    ids = ["a", "b", "c", "d"]
    rows = unit_rows(np.random.default_rng(0).normal(size=(4, 3)))
    spaces = [Space.of(ids, rows, name=name, model_name="m") for name in ("x", "y", "y")]
    assert compare_tables.labels(compare(spaces)) == ["m [x]", "m [y] (1)", "m [y] (2)"]
