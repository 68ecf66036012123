"""The command: its formats, what it escapes, what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from running import run

from embedsearch.build import build_index
from embedsearch.corpus import sample_path
from embedsearch.scores import cosines
from embedsearch.store.space import Space

HOSTILE = 'Red [bold]dwarfs[/bold] \x1b[31m<script>alert(1)</script>, "quoted" = $\\alpha$'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine papers, of which three, and two others, have the same counts of words."""
    folder = tmp_path_factory.mktemp("duplicates")
    texts = [
        *("star star dust here\x1b[31m", "star star dust there", "dust star star there"),
        *("galaxy", "galaxy", "planet", "plasma", "wave", "gas"),
    ]
    records = [record | {"abstract": text} for record, text in zip(corpora.records(9), texts, strict=True)]
    records[3] |= {"title": HOSTILE}
    records[4] |= {"title": "Galaxies. II. A map", "id": "doi-less local id"}
    build_index(corpora.write(folder / "papers.jsonl", records), folder / "i", encoder=FakeEncoder())
    return folder


def test_pairs_are_listed_with_kinds_and_words(folder: Path) -> None:
    done = run("duplicates", "--index", "i", "--min-cosine", "0.999", cwd=folder)
    assert done.returncode == 0
    assert "reused  75 % of the words in common" in done.stdout
    assert "- here[31m + there" in done.stdout
    assert "9 papers of i: 4 pairs of a cosine of 0.999 or more, 5 papers in 2 groups (" in done.stderr


def test_what_could_command_a_terminal_is_taken_out(folder: Path) -> None:
    done = run("duplicates", "--index", "i", "--min-cosine", "0.999", cwd=folder, env={"COLUMNS": "200"})
    assert "\x1b" not in done.stdout
    assert "Red [bold]dwarfs[/bold] [31m<script>alert(1)</script>" in done.stdout


def test_json_has_everything(folder: Path) -> None:
    done = run("duplicates", "--index", "i", "--min-cosine", "0.999", "-q", "--format", "json", cwd=folder)
    found = json.loads(done.stdout)
    assert done.stderr == ""
    assert (found["n_pairs"], found["n_groups"], found["n_papers_in_groups"], found["exact"]) == (4, 2, 5, True)
    first = found["pairs"][0]
    assert (first["rank"], first["cosine"], first["kind"], first["group"]) == (1, 1.0, "reused", 1)
    assert (first["why"], first["changes"]) == (
        "75 % of the words in common, no author in common",
        [{"removed": "here[31m", "added": "there"}],
    )
    assert [group["group"] for group in found["groups"]] == [1, 2]
    assert found["groups"][0]["ids"] == ["2001.10000", "2002.10001", "2003.10002"]
    assert found["command"].startswith("embedsearch duplicates")


def test_csv_is_a_line_a_pair_or_a_line_a_paper(folder: Path) -> None:
    asked = ("duplicates", "--index", "i", "--min-cosine", "0.999", "-q", "--format", "csv")
    pairs = list(csv.DictReader(io.StringIO(run(*asked, cwd=folder).stdout)))
    assert len(pairs) == 4
    hostile = next(pair for pair in pairs if "script" in pair["title_1"] + pair["title_2"])
    assert '"quoted"' in hostile["title_1"] + hostile["title_2"]
    assert (hostile["words_in_common"], hostile["changes"]) == ("1.0", "")
    assert any(pair["changes"].startswith("- here") for pair in pairs)
    papers = list(csv.DictReader(io.StringIO(run(*asked, "--groups", cwd=folder).stdout)))
    assert [(paper["group"], paper["n_papers"]) for paper in papers] == [("1", "3")] * 3 + [("2", "2")] * 2
    assert {paper["url"] for paper in papers if paper["id"] == "doi-less local id"} == {""}


def test_the_sample(tmp_path: Path) -> None:
    build_index(sample_path(), tmp_path / "indexes" / "default", encoder=FakeEncoder())
    done = run("duplicates", "--min-cosine", "0.9", "-n", "0", "--format", "json", "--no-center", cwd=tmp_path)
    found = json.loads(done.stdout)
    vectors = Space.open(tmp_path / "indexes" / "default").vectors
    n_pairs = sum(int((cosines(row, vectors[i + 1 :]) >= np.float32(0.9)).sum()) for i, row in enumerate(vectors))
    assert len(found["pairs"]) == found["n_pairs"] == n_pairs > 100
    assert sorted(pair["cosine"] for pair in found["pairs"])[::-1] == [pair["cosine"] for pair in found["pairs"]]
    shown = run("duplicates", "--min-cosine", "0.9", "--no-center", cwd=tmp_path)
    assert f"120 papers of default: {n_pairs:,} pairs" in shown.stderr
    assert "the 50 closest are shown" in shown.stderr


def test_groups_are_listed(folder: Path) -> None:
    done = run("duplicates", "--index", "i", "--groups", cwd=folder)
    assert "1  3 papers  " in done.stdout
    assert "2  2 papers  " in done.stdout


def test_a_file_takes_the_form_of_its_name(folder: Path, tmp_path: Path) -> None:
    for name in ("pairs.json", "pairs.csv", "pairs.txt"):
        done = run("duplicates", "--index", folder / "i", "--out", name, "-n", "1", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
        assert "the 1 closest are shown" in done.stderr
    assert len(json.loads((tmp_path / "pairs.json").read_text())["pairs"]) == 1
    assert len((tmp_path / "pairs.csv").read_text().splitlines()) == 2
    assert (tmp_path / "pairs.txt").read_text().startswith("1  1.000  ")
    done = run("duplicates", "--index", folder / "i", "--out", tmp_path / "new" / "pairs.csv", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "new" / "pairs.csv").read_text()[:5]) == (0, "rank,")


def test_where_nothing_can_be_written_nothing_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedsearch.duplicates.find_duplicates", None)
    done = run("duplicates", "--index", "i", "--out", "/proc/x/y.csv", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: expected to write /proc/x/y.csv, found: ")


def test_one_paper_is_one(tmp_path: Path) -> None:
    build_index(corpora.write(tmp_path / "one.jsonl", corpora.records(1)), tmp_path / "i", encoder=FakeEncoder())
    assert "1 paper of i: no two have" in run("duplicates", "--index", "i", cwd=tmp_path).stderr


def test_nothing_found_is_no_error(folder: Path) -> None:
    done = run("duplicates", "--index", "i", "--category", "q-bio*", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "no such pair\n")
    assert "0 papers of i: no two have a cosine of 0.95 or more." in done.stderr
    empty = run("duplicates", "--index", "i", "--category", "q-bio*", "--format", "csv", "-q", cwd=folder)
    assert empty.stdout.startswith("rank,cosine,kind,why,group,id_1,id_2,")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--min-cosine", "0"], 2, "Expected a --min-cosine above 0 and at most 1, found 0.0."),
        (["--min-cosine", "1.01"], 2, "Expected a --min-cosine above 0 and at most 1, found 1.01."),
        (["--min-cosine", "nan"], 2, "Expected a --min-cosine above 0 and at most 1, found nan."),
        (["-n", "-1"], 2, "Invalid value for '-n'"),
        (["--index", "nowhere"], 1, "Error: expected an index at nowhere"),
        (["--format", "latex"], 2, "Invalid value for '--format'"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], code: int, message: str) -> None:
    done = run("duplicates", *(["--index", "i"] if "--index" not in arguments else []), *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--near-duplicates", "--near-duplicate"])
def test_a_training_is_told_what_is_no_negative(folder: Path, option: str) -> None:
    done = run("finetune", option, "0", cwd=folder)
    assert (done.returncode, "Invalid value for '--near-duplicates'" in done.stderr) == (2, True)
    done = run("finetune", "--objective", "causal", option, "0.9", cwd=folder)
    assert "--near-duplicate is for --objective contrastive, found causal." in done.stderr
