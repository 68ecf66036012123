"""The command: what it prints and writes, and what it says of input that cannot be used."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from running import run
from test_perplexity import made, papers
from tiny_language_models import make_adapter, make_language_model

from embedsearch.errors import OptionError
from embedsearch.language.surprise import Surprise, measure
from embedsearch.plots.perplexity import perplexity_figure
from embedsearch.plots.saving import save_figure
from embedsearch.records import Paper
from embedsearch.render import perplexity as texts
from embedsearch.store.row_files import write_rows

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = ("--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_language_model(home / "a")
    make_language_model(home / "b", seed=4)
    make_language_model(home / "c", kind="gpt2", adds_bos=False)
    make_adapter(home / "adapter", home / "a")
    records = [
        {"id": f"2101.{i:05d}", "title": f"On {i} $\\alpha$", "abstract": " ".join(["star gas dust old"] * (1 + i % 4))}
        for i in range(12)
    ]
    (home / "papers.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (home / "one.jsonl").write_text(json.dumps(records[3]) + "\n")
    return home


def found(n: int = 30, n_models: int = 2, seed: int = 0) -> Surprise:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(50, 300, n)
    names = ["base", "tuned", *(f"model {i}" for i in range(2, n_models))][:n_models]
    losses = [made(tokens * rng.normal(3 - 0.2 * i, 0.4, n), tokens, tokens * 4) for i in range(n_models)]
    return measure(papers(n), names, losses, about=[{"note": ""}] * n_models)


def test_two_models_in_json_with_a_figure_and_each_papers_figures(home: Path) -> None:
    done = run(
        "perplexity", "papers.jsonl", "--model", "a", "--model", "b", *CPU, "--out", "f.png",
        "--per-paper", "p.parquet", "--format", "json", cwd=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [model["name"] for model in told["models"]] == ["a", "b"]
    assert told["n_papers"] == 12
    assert told["template"] == "{abstract}"
    rows = pyarrow.parquet.read_table(home / "p.parquet").to_pylist()
    assert len(rows) == 24
    assert rows[0]["title"] == "On 0 α"
    for model in told["models"]:
        mine = [row for row in rows if row["model"] == model["name"]]
        assert sum(row["n_tokens"] for row in mine) == model["n_tokens"] == 4 * (1 + 2 + 3 + 4) * 3
        nats = sum(row["n_tokens"] * math.log(row["perplexity"]) for row in mine)
        assert model["perplexity"]["value"] == pytest.approx(math.exp(nats / model["n_tokens"]))
        assert model["bits_per_byte"]["value"] == pytest.approx(nats / math.log(2) / model["n_bytes"])
        assert model["perplexity"]["low"] < model["perplexity"]["value"] < model["perplexity"]["high"]
    a, b = (model["bits_per_byte"]["value"] for model in told["models"])
    assert told["differences_percent"][0]["bits_per_byte"]["value"] == pytest.approx(100 * (b / a - 1))
    beside = json.loads((home / "f.json").read_text())
    assert {key: beside[key] for key in told} == told
    assert (home / "f.png").read_bytes().startswith(b"\x89PNG")
    assert "f.png; every number drawn: f.json" in done.stderr


def test_the_table_says_what_was_done(home: Path) -> None:
    done = run("perplexity", "papers.jsonl", "--model", "a", "--model", "c", "--limit", "5", *CPU, cwd=home)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["model", "perplexity"]
    assert [line.split()[0] for line in lines[1:3]] == ["a", "c"]
    assert (
        "5 papers. Intervals: bootstrap over papers. The first token of each text is given to every model"
        in done.stdout
    )
    assert "Difference to a in per cent, paired over papers; below zero is better." in done.stdout
    assert "a: 5 papers, " in done.stderr


@pytest.mark.parametrize("format", ["csv", "latex"])
def test_other_formats(home: Path, format: str) -> None:
    done = run("perplexity", "papers.jsonl", "--model", "a", "--model", "b", *CPU, "--format", format, "-q", cwd=home)
    assert done.stderr == ""
    if format == "latex":
        assert done.stdout.count("\\toprule") == 2
        return
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["model"], row["against"]) for row in rows] == [("a", ""), ("b", "a")]
    change = 100 * (float(rows[1]["perplexity"]) / float(rows[0]["perplexity"]) - 1)
    assert float(rows[1]["perplexity_percent"]) == pytest.approx(change)


def test_an_adapter_beside_its_base(home: Path) -> None:
    done = run("perplexity", "papers.jsonl", "--model", "a", "--model", "adapter", *CPU, "--format", "json", cwd=home)
    base, adapted = json.loads(done.stdout)["models"]
    assert adapted["weights"] == base["weights"]
    assert adapted["base"] == str(home / "a")
    assert base["adapter"] is None
    assert adapted["adapter"]
    assert adapted["bits_per_byte"]["value"] != pytest.approx(base["bits_per_byte"]["value"], rel=0.01)


def test_one_paper_has_no_interval(home: Path) -> None:
    done = run("perplexity", "one.jsonl", "--model", "a", "--model", "b", *CPU, "--out", "one.svg", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "1 paper. No interval: one paper." in done.stdout
    assert (home / "one.svg").exists()
    told = json.loads((home / "one.json").read_text())
    assert told["models"][0]["perplexity"]["low"] is None
    assert told["differences_percent"][0]["perplexity"]["high"] is None
    assert (len(told["most_surprising"]), len(told["least_surprising"])) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["papers.jsonl", "--model", "minilm"], "expected a language model, found minilm, an encoder"),
        (["papers.jsonl", "--model", "a", "--model", "nosuch"], "no model 'nosuch'"),
        (["papers.jsonl", "--model", "a", "--model", "a"], "expected each model once"),
        (["papers.jsonl", "--model", "adapter", "--base", "c"], "expected a base with a layer"),
        (["papers.jsonl", "--model", "openai:gpt-9"], "is a service"),
        (["nosuch.jsonl", "--model", "a"], "nosuch.jsonl"),
        (["papers.jsonl", "--category", "hep-*", "--model", "a"], "expected papers with an abstract in papers.jsonl"),
        (["papers.jsonl", "--model", "a", "--out", "f.gif"], "expected a figure named"),
        (["papers.jsonl", "--model", "a", "--per-paper", "p.xls"], "expected a file named *.csv, *.jsonl, *.parquet"),
        (["papers.jsonl", "--model", "a", "--template", "{nothing}"], "found 'nothing'"),
    ],
)
def test_input_that_cannot_be_used(home: Path, arguments: list[str], message: str) -> None:
    done = run("perplexity", *arguments, *CPU, cwd=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_bytes_that_are_no_text_are_replaced(home: Path) -> None:
    """In what the files and the output say of the command."""
    done = run(
        "perplexity", "one.jsonl", "--model", "a", *CPU, "--per-paper", "p\udcff.csv", "--out", "bytes.png",
        "--template", "{abstract}\udcff", "--format", "json", "-q", cwd=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, (home / "bytes.json").read_text()):
        assert "--per-paper 'p?.csv'" in json.loads(text)["command"]
    assert (home / "p\udcff.csv").exists()


def test_a_revision_of_several_models_is_a_usage_error(home: Path) -> None:
    done = run("perplexity", "papers.jsonl", "--model", "a", "--model", "b", "--revision", "x", cwd=home)
    assert done.returncode == 2
    assert "Expected one --model beside --revision" in done.stderr


def test_texts_of_one_token_without_bos(home: Path) -> None:
    (home / "short.jsonl").write_text('{"id": "2101.00001", "title": "t", "abstract": "star"}\n')
    done = run("perplexity", "short.jsonl", "--model", "c", *CPU, cwd=home)
    assert "Error: expected texts of more than one token" in done.stderr


# ---- what is shown --------------------------------------------------------------------------------------------------


def test_the_most_and_the_least_surprising() -> None:
    result = found()
    bits = result.models[0].paper_bits
    most, least = result.extremes(3)
    assert bits[most].tolist() == sorted(bits.tolist(), reverse=True)[:3]
    assert bits[least].tolist() == sorted(bits.tolist())[:3]
    few_most, few_least = found(n=5).extremes(4)
    assert (len(few_most), len(few_least)) == (3, 2)
    assert not set(few_most) & set(few_least)


def test_a_distribution_is_a_density() -> None:
    edges, densities = found().distributions()
    assert (np.diff(edges) > 0).all()
    for density in densities:
        assert (density * np.diff(edges)).sum() == pytest.approx(1)


def test_the_figure_draws_every_model_and_paper(tmp_path: Path) -> None:
    figure = perplexity_figure(found(n_models=3))
    curves, rows = figure.axes
    dots = [line for line in rows.lines if line.get_marker() == "o"]
    assert len(dots) == 3 * 10
    assert curves.get_xlim() == rows.get_xlim()
    shown = [text.get_text() for text in figure.texts]
    assert {"base", "tuned", "model 2", "Most surprising to base", "Least surprising to base"} <= set(shown)
    save_figure(figure, tmp_path / "f.pdf")
    save_figure(perplexity_figure(found(n_models=3)), tmp_path / "g.pdf")
    assert (tmp_path / "f.pdf").read_bytes() == (tmp_path / "g.pdf").read_bytes()


def test_papers_that_cost_the_same_are_drawn() -> None:
    """Without any spread there is no width of a step to be found."""
    figure = perplexity_figure(measure(papers(4), ["a"], [made([8.0] * 4, [4] * 4, [16] * 4)]))
    assert len(figure.axes) == 2


def test_intervals_as_text() -> None:
    table = texts.difference_table(found())
    assert table.columns[1].digits == 1
    low, to, high = table.rows[0][2].split()
    assert (to, float(low) < float(high)) == ("to", True)


def rows_back(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {"id": row["id"], "n": int(row["n"]), "x": float(row["x"]) if row["x"] else None}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_are_read_back(tmp_path: Path, suffix: str) -> None:
    rows = [("é,\n", 1, 0.1), ("b", 2, None)]
    write_rows(tmp_path / f"r{suffix}", {"id": str, "n": int, "x": float}, rows)
    assert rows_back(tmp_path / f"r{suffix}") == [dict(zip(("id", "n", "x"), row, strict=True)) for row in rows]
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(OptionError, match="found a folder of that name"):
        write_rows(tmp_path / f"folder{suffix}", {"id": str}, [])


def test_a_title_that_is_missing_is_drawn_by_its_id() -> None:
    paper = Paper(id="2101.00001", title="", abstract="star")
    figure = perplexity_figure(measure([paper], ["a"], [made([8.0], [4], [16])]))
    assert "2101.00001" in [text.get_text() for text in figure.texts]
