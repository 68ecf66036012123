"""The command similarity-plot: what it writes, prints and refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import Done, run

from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError
from embedsearch.pairs.similarity import similarity_figure
from embedsearch.store.space import Space


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of the fake encoder, and files of vectors of its papers, some of them left out."""
    folder = tmp_path_factory.mktemp("plots")
    corpora.write(folder / "papers.jsonl", corpora.records(60))
    build_index(folder / "papers.jsonl", folder / "i", encoder=FakeEncoder(), options=BuildOptions(shard_rows=16))
    space = Space.open(folder / "i")
    random = np.random.default_rng(0)
    for name in ("other", "third"):
        vectors = space.vectors[:50] @ random.normal(size=(8, 12)) + 0.5 * random.normal(size=(50, 12)) + 1
        np.savez(folder / f"{name}.npz", ids=np.array(space.ids[:50]), vectors=vectors)
    return folder


def plot(home: Path, *arguments: str, code: int = 0) -> Done:
    done = run("similarity-plot", "--index", "i", *arguments, cwd=home)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_bare(home: Path) -> None:
    done = plot(home)
    assert (
        "figures/similarity.png: 1,770 pairs of 60 papers; every number drawn: figures/similarity.json" in done.stderr
    )
    assert done.stdout.splitlines()[0].split()[:4] == ["space", "papers", "pairs", "mean"]
    data = json.loads((home / "figures" / "similarity.json").read_text())
    assert data["command"] == "embedsearch similarity-plot --index i"
    assert (data["n_papers"], data["seed"], data["style"]) == (60, 0, "overlay")
    assert data["panels"][0]["spaces"][0]["recipe"]["template"] == "{abstract}"
    assert data["panels"][0]["ridges"] == []


def test_against_another_space(home: Path) -> None:
    done = plot(home, "--against", "other.npz", "--bin-by", "both", "--bins", "4", "--out", "a.png", "--csv")
    assert "50 papers in common; left out: " in done.stderr
    assert "in bins of other:" in done.stdout
    data = json.loads((home / "a.json").read_text())
    assert [ridges["by"] for ridges in data["panels"][0]["ridges"]] == [0, 1]
    assert [space["name"] for space in data["panels"][0]["spaces"]] == ["other.npz", "i"]  # the reference first
    assert sum(data["panels"][0]["ridges"][0]["n_pairs"]) == 50 * 49 // 2
    rows = list(csv.DictReader(io.StringIO((home / "a.csv").read_text())))
    assert len(rows) == 2 + 2 * 4 * 2
    assert {row["bin"] for row in rows} == set("01234")
    assert str(home) not in (home / "a.json").read_text()


def test_bytes_that_are_no_text_are_replaced(home: Path) -> None:
    plot(home, "--out", "b\udcff.png", "-q")
    assert json.loads((home / "b\udcff.json").read_text())["command"].endswith("--out 'b?.png' -q")


def test_formats_say_the_same(home: Path) -> None:
    words = ("--against", "other.npz", "--bins", "3", "--out", "f.png", "-q", "--format")
    found = json.loads(plot(home, *words, "json").stdout)
    rows = list(csv.DictReader(io.StringIO(plot(home, *words, "csv").stdout)))
    assert [space["mean"] for space in found["spaces"]] == [float(row["mean"]) for row in rows[:2]]
    assert [record["share"] for record in found["bins"]] == [float(row["share"]) for row in rows[2:]]
    assert len(found["bins"]) == 3 * 2
    latex = plot(home, *words, "latex").stdout
    assert latex.count("\\toprule") == 2
    assert "\\pm" in latex


def test_the_same_bytes_and_any_order(home: Path) -> None:
    space = Space.open(home / "i")
    order = np.random.default_rng(1).permutation(60)
    np.savez(home / "one.npz", ids=np.array(space.ids), vectors=space.vectors)
    np.savez(home / "mixed.npz", ids=np.array(space.ids)[order], vectors=space.vectors[order])
    numbers = []
    for name in ("one", "mixed"):
        run("similarity-plot", "--index", f"{name}.npz", "--sample", "40", "--out", "s.png", cwd=home)
        picture = (home / "s.png").read_bytes()
        data = json.loads((home / "s.json").read_text())
        numbers.append((data["panels"][0]["spaces"][0]["curve"], data["panels"][0]["spaces"][0]["mean"]))
        run("similarity-plot", "--index", f"{name}.npz", "--sample", "40", "--out", "s.png", cwd=home)
        assert (home / "s.png").read_bytes() == picture
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("style", ["ridgeline", "overlay", "joint"])
@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_styles_and_files(home: Path, style: str, suffix: str) -> None:
    plot(home, "--against", "other.npz", "--style", style, "--out", f"{style}.{suffix}", "--bins", "2")
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert (home / f"{style}.{suffix}").read_bytes().startswith(magic[suffix])


def test_transforms(home: Path) -> None:
    plot(
        home, "--against", "other.npz@center", "--against", "third.npz@none", "--transform", "center", "--out", "t.png"
    )
    spaces = json.loads((home / "t.json").read_text())["panels"][0]["spaces"]
    assert [space["recipe"].get("transform") for space in spaces] == ["center", "center", None]
    plot(home, "--against", "other.npz", "--panels", "raw,center", "--out", "p.png", "--bins", "2")
    panels = json.loads((home / "p.json").read_text())["panels"]
    assert [panel["transform"] for panel in panels] == ["raw", "center"]


def test_a_sample_is_the_same_papers_in_every_space(home: Path) -> None:
    plot(home, "--against", "other.npz", "--sample", "20", "--seed", "3", "--out", "s1.png")
    data = json.loads((home / "s1.json").read_text())
    common = Space.open(home / "other.npz").sample(20, seed=3)
    rows = common.vectors.astype(np.float64)
    expected = (rows @ rows.T)[np.triu_indices(20, 1)].mean()
    assert data["panels"][0]["spaces"][0]["mean"]["value"] == pytest.approx(expected, abs=1e-7)


REFUSED = {
    "too large a sample": (("--sample", "999999999"), "expected a sample of at most 60 papers, all there are", 1),
    "a sample of 1": (("--sample", "1"), "expected a number of papers of at least 3, or all, found '1'", 2),
    "no number": (("--sample", "some"), "expected a number of papers of at least 3, or all, found 'some'", 2),
    "no bins": (("--bins", "0"), "0 is not in the range 1<=x<=50", 2),
    "unknown suffix": (("--out", "x.gif"), "expected a figure named *.png, *.pdf, *.svg, found 'x.gif'", 1),
    "no place": (("--out", "/proc/x/y.png"), "expected to write /proc/x/y.png, found: ", 1),
    "nothing to bin by": (("--bin-by", "both"), "Expected --against SPACE with --bin-by", 2),
    "one space": (("--style", "joint"), "expected two spaces for a joint distribution, found one", 1),
    "unknown transform": (("--transform", "turn"), "expected a transform center, whiten:K", 1),
    "unknown panel": (("--panels", "raw,turn"), "expected a transform center, whiten:K", 1),
    "a panel twice": (("--panels", "raw,raw"), "expected each panel once", 1),
    "no such space": (("--against", "nowhere"), "nowhere", 1),
    "too many": (("--against", "other.npz") * 7, "expected at most 7 spaces, which can be told apart, found 8", 1),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(home: Path, name: str) -> None:
    arguments, message, code = REFUSED[name]
    done = plot(home, *arguments, code=code)
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_two_papers_are_too_few(home: Path) -> None:
    np.savez(home / "two.npz", ids=np.array(["a", "b"]), vectors=np.eye(2))
    done = run("similarity-plot", "--index", "two.npz", cwd=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected at least 3 papers with vectors in two.npz, found 2" in done.stderr


def test_a_transform_that_does_not_fit_is_told_before_anything_is_counted(home: Path) -> None:
    def counted(name: str) -> None:
        raise AssertionError(name)

    space = Space.open(home / "i")
    with pytest.raises(OptionError, match="at most 8 in whiten:50"):
        similarity_figure([space], panels=("raw", "whiten:50"), passes=counted)  # type: ignore[arg-type]
