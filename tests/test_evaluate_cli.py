"""The command evaluate: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import Done, run

from embedsearch import Searcher
from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import sample_path
from embedsearch.encoders import Compute, ModelSpec, Recipe
from embedsearch.errors import ModelNotFound
from embedsearch.evaluate import cost
from embedsearch.render.evaluation import LONG
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space


class Named(FakeEncoder):
    """As `open_encoder` gives one: words by their hash, in as many components as the model's name says."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.spec = ModelSpec(name=name)

    @property
    def dim(self) -> int:
        return int(self.spec.name.removeprefix("words-"))

    def _counts(self, text: str) -> list[float]:
        counts = [0.01] * self.dim
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % self.dim] += 1.0
        return counts


def open_named(spec: ModelSpec | str, *, compute: Compute | None = None, expected: Recipe | None = None) -> Named:
    name = spec if isinstance(spec, str) else spec.name
    if not name.startswith("words-"):
        raise ModelNotFound(f"expected a model, found {name!r}")
    return Named(name)


@pytest.fixture(scope="module", autouse=True)
def models() -> Iterator[None]:
    """Models by name that take no time."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("build", "search.encoding", "stages.given"):
            patch.setattr(f"embedsearch.{place}.open_encoder", open_named)
        patch.setattr(cost, "SPEED_SECONDS", 0.02)
        patch.setattr(cost, "LATENCY_SECONDS", 0.02)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's index, 60 of its papers as a corpus, and files of vectors that say of their model and do not."""
    folder = tmp_path_factory.mktemp("evaluate")
    build_index(sample_path(), folder / "indexes" / "default", model="words-32", options=BuildOptions(ann="flat"))
    lines = sample_path().read_text().splitlines()
    (folder / "some.jsonl").write_text("\n".join(lines[:60]))
    space = Space.open(folder / "indexes" / "default")
    np.savez(folder / "bare.npz", ids=np.array(space.ids[:70]), vectors=space.vectors[:70])
    return folder


def evaluated(home: Path, *arguments: str | Path, code: int = 0) -> Done:
    done = run("evaluate", *arguments, cwd=home)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def as_json(home: Path, *arguments: str | Path) -> dict:
    return json.loads(evaluated(home, *arguments, "--no-cost", "--format", "json").stdout)


def test_bare_it_is_of_the_index(home: Path) -> None:
    done = evaluated(home, "--worst", "2")
    for text in ("MRR@10", "recall@100", "words-32", "recall of the exact 10", "papers/s", "found first", "120 papers"):
        assert text in done.stdout
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    for queries in ("title", "sample"):
        for mode in ("dense", "keyword", "hybrid"):
            assert [queries, mode, "words-32"] in rows
    assert "Note" not in done.stderr


def test_numbers_are_one_in_every_format(home: Path) -> None:
    asked = ("--task", "title", "--n-queries", "30")
    found = as_json(home, *asked)
    assert found["command"].startswith("embedsearch evaluate --task title")
    assert found["n_queries"] == {"title": 30}
    lines = list(csv.DictReader(io.StringIO(evaluated(home, *asked, "--no-cost", "--format", "csv").stdout)))
    assert tuple(lines[0]) == LONG
    for of in found["measures"]:
        (line,) = [
            line for line in lines if (line["of"], line["mode"], line["measure"]) == ("entry", of["mode"], "nDCG@10")
        ]
        assert [float(line[name]) for name in ("value", "low", "high")] == list(of["nDCG@10"].values())
        assert len(of["ranks"]) == len(of["values"]["MRR@10"]) == 30
        assert np.mean(of["values"]["MRR@10"]) == pytest.approx(of["MRR@10"]["mean"])
    latex = evaluated(home, *asked, "--no-cost", "--format", "latex").stdout
    assert latex.count("\\begin{table}") == 4
    mrr = found["measures"][2]["MRR@10"]
    assert f"{mrr['mean']:.3f} [{mrr['low']:.3f}, {mrr['high']:.3f}]" in latex.replace("{", "").replace("}", "")


def test_models_are_compared_on_the_papers_of_the_index(home: Path) -> None:
    found = as_json(home, "indexes/default", "words-8", "words-64", "--n-queries", "60", "--mode", "dense")
    assert found["entries"] == ["words-32", "words-8", "words-64"]
    assert found["n_papers"] == 120
    differences = {(of["entry"], of["queries"]): of for of in found["differences"] if of["measure"] == "MRR@10"}
    assert set(differences) == {(e, q) for e in ("words-8", "words-64") for q in ("title", "sample")}
    assert differences["words-8", "title"]["high"] < 0
    assert differences["words-8", "title"]["p_holm"] < 0.05
    assert differences["words-8", "title"]["n_to_resolve"] > 60
    assert {of["mode"] for of in found["measures"]} == {"dense"}
    assert not list(home.glob("words-*"))


def test_work_is_kept_and_gone_on_with(home: Path, tmp_path: Path) -> None:
    asked = ("words-16", "--corpus", "some.jsonl", "--work", tmp_path / "work", "--n-queries", "20")
    first = as_json(home, *asked)
    (made,) = (tmp_path / "work").iterdir()
    before = read_manifest(made).serving
    assert (before.n_papers, before.complete) == (60, True)
    assert as_json(home, *asked)["measures"] == first["measures"]
    assert read_manifest(made).serving == before
    done = evaluated(home, "words-16", "--work", tmp_path / "work", code=1)
    assert f"{made} is of other work: remove it, or name another --work" in done.stderr


def test_a_sample_of_the_papers(home: Path) -> None:
    alone = as_json(home, "--sample", "40", "--seed", "3", "--mode", "dense")
    assert alone["n_papers"] == 40
    beside = as_json(home, "indexes/default", "words-16", "--sample", "40", "--seed", "3", "--mode", "dense")
    assert beside["n_papers"] == 40  # of both the same papers
    assert beside["measures"][0] == alone["measures"][0]
    assert "words-32: 80 of 120 papers are left out, which others lack" in beside["notes"]


def test_vectors_by_keywords_alone_or_with_the_model_that_is_named(home: Path) -> None:
    alone = as_json(home, "bare.npz")
    assert {of["mode"] for of in alone["measures"]} == {"keyword"}
    assert "bare.npz: by keywords alone" in alone["notes"][0]
    assert alone["notes"][0].endswith("name the model with --query-model")
    with_model = as_json(home, "bare.npz", "indexes/default", "--query-model", "words-32", "--task", "title")
    assert with_model["n_papers"] == 70
    values = {(of["entry"], of["mode"]): of["ranks"] for of in with_model["measures"]}
    assert values["bare.npz", "dense"] == values["words-32", "dense"]  # the same vectors
    assert not with_model["differences"]


def test_an_index_of_vectors_takes_the_model_that_is_named(home: Path, tmp_path: Path) -> None:
    build_index(home / "some.jsonl", tmp_path / "i", vectors=home / "bare.npz", options=BuildOptions(ann="exact"))
    assert {of["mode"] for of in as_json(tmp_path, "i")["measures"]} == {"keyword"}
    for index in (("i",), ("--index", "i")):
        found = as_json(tmp_path, *index, "--query-model", "words-32")
        assert {of["mode"] for of in found["measures"]} == {"dense", "keyword", "hybrid"}


def test_queries_from_files(home: Path, tmp_path: Path) -> None:
    ids = Space.open(home / "indexes" / "default").ids
    (tmp_path / "q.tsv").write_text("a\tdust of a comet\nb\told stars\nc\tunjudged\n")
    (tmp_path / "q.qrels").write_text(f"a 0 {ids[3]} 1\nb 0 {ids[4]} 2\nb 0 9999.00001 1\n")
    files = ("--queries", tmp_path / "q.tsv", "--qrels", tmp_path / "q.qrels", "--no-cost")
    done = evaluated(home, *files)
    assert "2 of q." in done.stdout
    assert "Note: q: 1 of 3 judged papers are not in the corpus." in done.stderr
    assert not evaluated(
        home, "--queries", tmp_path / "q.tsv", "--qrels", tmp_path / "q.qrels", "--no-cost", "-q"
    ).stderr


def test_words_alone_need_no_model_and_meaning_no_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("embedsearch.search.encoding.open_encoder", lambda *args, **options: pytest.fail("was opened"))
        found = as_json(home, "--mode", "keyword", "--task", "title")
        assert [of["mode"] for of in found["measures"]] == ["keyword"]
        assert not found["notes"]
        assert not found["index_recall"]
        done = evaluated(home, "--mode", "keyword", "--task", "title", "--format", "csv")
    (line,) = [line for line in csv.DictReader(io.StringIO(done.stdout)) if line["measure"] == "ms a query"]
    assert float(line["value"]) > 0
    with monkeypatch.context() as patch:
        patch.setattr("embedsearch.keywords.build", lambda *args, **options: pytest.fail("was built"))
        found = as_json(home, "--mode", "dense", "--task", "title")
    assert [of["mode"] for of in found["measures"]] == ["dense"]


def test_what_is_best_comes_first(home: Path) -> None:
    best, _, measures = evaluated(home, "--task", "title", "--no-cost", "--worst", "0").stdout.partition("\n\n")
    rows = [line.split() for line in measures.splitlines() if line.startswith("title")]
    by_mode = {mode: float(mean) for _, mode, _, mean, *_ in rows}
    queries, mode, mean, *_ = best.splitlines()[1].split()
    assert (queries, mode, float(mean)) == ("title", *max(by_mode.items(), key=lambda of: of[1]))
    lines = evaluated(home, "indexes/default", "words-8", "--task", "title", "--no-cost").stdout.splitlines()
    assert lines[1].split()[1] in ("words-32,", "words-8,")


def test_a_title_that_finds_badly_is_told_once(home: Path) -> None:
    done = evaluated(home, "--task", "title", "--mode", "dense", "--no-cost", "--worst", "1")
    (worst,) = as_json(home, "--task", "title", "--mode", "dense", "--worst", "1")["worst"]
    assert done.stdout.count(worst["wanted_title"]) == 1


def test_what_few_papers_would_take(home: Path) -> None:
    """A size below the corpus: that column is shown, and the difference is of that size."""
    asked = ("indexes/default", "words-8", "--n-papers", "50", "--task", "title", "--mode", "dense", "--no-cost")
    stdout = evaluated(home, *asked).stdout
    heading = next(line for line in stdout.splitlines() if "120 papers" in line and line.startswith("queries"))
    assert heading.index(" 20 papers") < heading.index(" 50 papers") < heading.index("120 papers")
    assert "less words-32, at 50" in heading


def test_words_alone_are_drawn_against_their_time(home: Path, tmp_path: Path) -> None:
    evaluated(home, "--mode", "keyword", "--task", "title", "--out", tmp_path / "f.png")
    assert (tmp_path / "f.png").exists()


def test_too_few_queries_choose_no_weight_and_nothing_else_is_lost(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "indexes" / "default", tmp_path / "i")
    few = ("i", "--choose-hybrid", "--no-cost", "--task", "title", "--n-queries", "12")
    done = evaluated(tmp_path, *few)
    assert "MRR@10" in done.stdout
    assert "words-32: no hybrid weight is chosen: expected at least 10 queries of a set in each half" in done.stderr
    done = evaluated(tmp_path, *few, "--save", code=1)
    assert "MRR@10" in done.stdout
    assert "expected a weight to keep and an index to keep it in, found none" in done.stderr
    done = evaluated(tmp_path, "words-8", "--corpus", "i", "--choose-hybrid", "--save", "--no-cost", code=1)
    assert "expected a weight to keep and an index to keep it in, found none" in done.stderr


def test_what_many_papers_would_take(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.png"
    asked = ("--n-papers", "3000000", "--task", "title", "--mode", "dense", "--out", out)
    done = evaluated(home, "indexes/default", "words-8", *asked)
    assert "3,000,000 papers" in done.stdout
    assert "hours for 3,000,000" in done.stdout
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["f-sizes.png", "f.json", "f.png"]
    found = json.loads(out.with_suffix(".json").read_text())
    assert [of["at"]["n_papers"] for of in found["costs"]] == [3_000_000] * 2
    (of,) = [of for of in found["sizes"] if (of["entry"], of["mode"]) == ("words-8", "dense")]
    assert of["difference"]["n_papers"] == of["curve"]["points"][-1]["n_papers"] == 3_000_000
    assert "Written" in done.stderr


def test_the_weight_is_chosen_and_kept_only_when_asked(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "indexes" / "default", tmp_path / "i")
    before = read_manifest(tmp_path / "i")
    (choice,) = as_json(tmp_path, "i", "--choose-hybrid")["hybrid"]
    assert read_manifest(tmp_path / "i") == before
    done = evaluated(tmp_path, "i", "--choose-hybrid", "--save", "--no-cost")
    assert f"i: hybrid search has the weight {choice['weight']:g} now." in done.stderr
    assert "does not show it better than 0.6" in done.stderr
    assert f"hybrid has its own weight, {choice['weight']:g};" in evaluated(tmp_path, "i", "--no-cost").stderr
    assert "best weight" in done.stdout
    assert read_manifest(tmp_path / "i").serving.hybrid_weight == choice["weight"]
    searcher = Searcher.open(tmp_path / "i", encoder=Named("words-32"))
    assert searcher.search("dust", k=1).hits


def test_without_the_library_of_measures(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    done = evaluated(home, "words-8", "--corpus", "some.jsonl", code=1)
    assert "found it not installed: pip install 'embedsearch[evaluate]'" in done.stderr
    assert "To embed" not in done.stderr  # before hours of it


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--save",), 2, "Expected --choose-hybrid beside --save."),
        (("--choose-hybrid", "--mode", "dense"), 2, "Expected meaning and words beside --choose-hybrid, found --mode"),
        (("--out", "a.png", "--no-cost"), 2, "Expected --cost or --n-papers beside --out"),
        (("--out", "a.txt"), 1, "expected a figure named *.png, *.pdf, *.svg, found 'a.txt'"),
        (("--index", "nowhere"), 1, "expected an index at nowhere, found none"),
        (("nowhere.npz",), 1, "expected a file of vectors at nowhere.npz, found none"),
        (("gone",), 1, "expected an index, a file of vectors or a model, found 'gone': expected a model"),
        (("--qrels", "bare.npz"), 1, "expected the queries that bare.npz judges, found none: name them with --queries"),
        (("--queries", "nowhere.jsonl"), 1, "expected a file at nowhere.jsonl, found none"),
        (("--queries", "bare.npz"), 1, "bare.npz, line 1: expected"),
        (("words-8", "--corpus", "nowhere.jsonl"), 1, "nowhere.jsonl: expected a file of papers, found no such file"),
        (
            ("--corpus", "some.jsonl", "--task", "series"),
            1,
            "series: left out, expected at least 2 such queries",
        ),
        (("--n-queries", "1"), 2, "1 is not in the range x>=2"),
        (("--task", "words"), 2, "'words' is not one of"),
    ],
)
def test_bad_input(home: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = evaluated(home, *arguments, code=code)
    assert message in " ".join(done.stderr.split())
    assert not done.stdout
