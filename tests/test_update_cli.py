"""add, remove, compact, rollback, log: what they say, and one line for whatever cannot be done."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import corpora
import pytest
from fake_encoder import FakeEncoder
from running import Done, run

from embedsearch.build import BuildOptions, build_index
from embedsearch.store.lock import writer_lock
from embedsearch.update import adding, remove

RECORDS = corpora.records(30)
IDS = [record["id"] for record in RECORDS]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    corpus = corpora.write(folder / "papers.jsonl", RECORDS[:20])
    options = BuildOptions(shard_rows=8, transform="center")
    build_index(corpus, folder / "i", encoder=FakeEncoder(), options=options)
    return folder / "i"


@pytest.fixture
def home(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an index `i` of 20 papers, whose model is at hand."""
    shutil.copytree(built, tmp_path / "i")
    monkeypatch.setattr(adding, "open_encoder", lambda *args, **kwargs: FakeEncoder())
    return tmp_path


def does(*arguments: str | Path, cwd: Path, **options: Any) -> Done:
    """Run what must work, on the index `i`."""
    done = run(*arguments, "--index", "i", cwd=cwd, **options)
    assert done.returncode == 0, done.stderr
    return done


def fails(*arguments: str | Path, cwd: Path, **options: Any) -> str:
    """Run what must fail, -q: nothing but one line."""
    done = run(*arguments, "-q", cwd=cwd, **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def more(folder: Path) -> Path:
    """Of 20 papers: five new, one with another abstract, one with another title, one deleted, one as it was."""
    records = [*RECORDS[20:25], RECORDS[1] | {"abstract": "planet planet"}, RECORDS[2] | {"title": "Another"}]
    return corpora.write(folder / "more.jsonl", [*records, {"id": IDS[3], "deleted": True}, RECORDS[4]])


def test_add(home: Path) -> None:
    done = does("add", more(home), cwd=home)
    said = "5 new, 1 with another text, 1 with other fields, 1 removed, 1 as before"
    assert f"i: {said}. Searched now: 24 papers, generation 2." in done.stderr
    assert done.stdout == ""
    again = does("add", home / "more.jsonl", cwd=home).stderr
    assert again == "i: 8 as before, 1 deleted that were not there. Nothing to do: 24 papers, generation 2.\n"
    assert does("add", home / "more.jsonl", "-q", cwd=home).stderr == ""
    assert "i is whole: 24 papers, 24 vectors" in does("verify", cwd=home).stdout


def test_what_is_added_can_be_chosen(home: Path) -> None:
    done = does("add", "-", "--category", "gr-qc", "--limit", "2", cwd=home, stdin=more(home).read_bytes())
    assert "i: 2 new" in done.stderr
    assert "Searched now: 22 papers" in done.stderr


def test_remove(home: Path) -> None:
    done = does("remove", f"https://arxiv.org/abs/{IDS[0]}v2", IDS[1], IDS[1], cwd=home)
    assert done.stderr == "i: 2 papers removed. Searched now: 18 papers, generation 2.\n"
    (home / "ids.txt").write_text(f"# to go\n{IDS[2]}\n\n{IDS[0]}\n")
    done = does("remove", "ids.txt", cwd=home)
    assert done.stderr.startswith(f"Not in i: {IDS[0]}.\ni: 1 paper removed.")
    assert "16 papers" in does("remove", "-", cwd=home, stdin=IDS[3].encode()).stderr
    found = json.loads(does("query", "star", "--mode", "keyword", "-k", "50", "--format", "json", cwd=home).stdout)
    assert found["hits"]
    assert not {hit["id"] for hit in found["hits"]} & set(IDS[:4])


def test_compact(home: Path) -> None:
    assert "Nothing to do" in does("compact", cwd=home).stderr
    does("remove", *IDS[:9], cwd=home)
    assert "11 from" in does("info", cwd=home).stdout
    assert "9 dead rows" in does("info", cwd=home).stdout
    done = does("compact", cwd=home)
    assert done.stderr.startswith("i: 9 dead rows left out, ")
    assert done.stderr.endswith("now: 11 papers, generation 3.\n")
    assert json.loads(does("info", "--format", "json", cwd=home).stdout)["n_dead"] == 0


def test_rollback(home: Path) -> None:
    does("remove", IDS[0], cwd=home)
    assert does("rollback", cwd=home).stderr == "i: generation 1 again, with 20 papers.\n"
    said = fails("rollback", "--index", "i", cwd=home)
    assert "expected a previous generation in i, found none" in said
    assert "i is whole: 20 papers" in does("verify", cwd=home).stdout


def test_log(home: Path) -> None:
    does("add", more(home), cwd=home)
    does("remove", IDS[0], cwd=home)
    does("rollback", cwd=home)
    events = json.loads(does("log", "--format", "json", cwd=home).stdout)
    assert [(event["generation"], event["what"], event["n_papers"]) for event in events] == [
        (1, "build", 20),
        (2, "add", 24),
        (3, "remove", 23),
        (2, "rollback", 24),
    ]
    counts = ("n_new", "n_changed", "n_renewed", "n_removed")
    assert [events[1][name] for name in counts] == [5, 1, 1, 1]
    assert events[1]["source"] == str(home / "more.jsonl")
    assert events[1]["by"].startswith("embedsearch ")
    lines = does("log", "--format", "csv", cwd=home).stdout.splitlines()
    assert [row["what"] for row in csv.DictReader(lines)] == ["build", "add", "remove", "rollback"]
    table = does("log", cwd=home).stdout.splitlines()
    assert table[0].split()[:2] == ["generation", "when"]
    assert table[1].split()[1] == events[0]["at"][:10]
    assert len(table) == 5


def test_info(home: Path) -> None:
    does("add", more(home), cwd=home)
    said = " ".join(does("info", cwd=home).stdout.split())  # long lines are folded
    assert "center, fitted on 20 papers" in said
    assert "2 in `embedsearch log`; last: add" in said
    assert "kept to roll back to: generation 1" in said
    info = json.loads(does("info", "--format", "json", cwd=home).stdout)
    assert (info["n_papers"], info["n_dead"], info["n_fitted"], info["n_events"]) == (24, 2, 20, 2)
    assert info["last"]["what"] == "add"


def test_no_index(tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "papers.jsonl", RECORDS[:2])
    for arguments in (["add", corpus], ["remove", IDS[0]], ["compact"], ["rollback"], ["log"]):
        assert "expected an index at no, found none" in fails(*arguments, "--index", "no", cwd=tmp_path)
    assert not (tmp_path / "no").exists()


def test_what_is_not_there(home: Path) -> None:
    assert "it has none of 9999.99999" in fails("remove", "9999.99999", "--index", "i", cwd=home)
    assert "it has none of 0, 1, 2, 3, 4 and 3 more" in fails("remove", *"01234567", "--index", "i", cwd=home)
    assert remove(["\udcff"], home / "i").n_unknown == 1  # what the shell makes of a byte that is no UTF-8
    assert "found none" in fails("remove", "-", "--index", "i", cwd=home, stdin=b"\n# nothing\n")
    assert "expected papers to be left" in fails("remove", *IDS, "--index", "i", cwd=home)
    assert "papers.jsonl: expected a file of papers" in fails("add", "papers.jsonl", "--index", "i", cwd=home)
    assert run("remove", "--index", "i", cwd=home).returncode == 2
    assert run("remove", "-", IDS[0], "--index", "i", cwd=home).returncode == 2


def test_what_does_not_fit(home: Path) -> None:
    corpus = more(home)
    assert "template" in fails("add", corpus, "--template", "{title}", "--index", "i", cwd=home)
    corpora.write(home / "bad.jsonl", [RECORDS[20] | {"abstract": "NAN"}])
    before = (home / "i" / "manifest.json").read_bytes()
    for _ in range(2):  # the second time it is what was begun that fails
        said = fails("add", "bad.jsonl", "--index", "i", cwd=home)
        assert f"paper {IDS[20]}: " in said
        assert "give this addition up with: embedsearch rollback --index i, and add without that paper" in said
    does("rollback", cwd=home)
    assert json.loads((home / "i" / "manifest.json").read_bytes())["serving"] == json.loads(before)["serving"]


def test_another_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    said = fails("add", more(home), "--index", "i", cwd=home)
    assert "expected" in said
    assert json.loads(does("info", "--format", "json", cwd=home).stdout)["n_papers"] == 20


def test_another_writer(home: Path) -> None:
    corpus = more(home)
    with writer_lock(home / "i"):
        for arguments in (["add", corpus], ["remove", IDS[0]], ["compact"], ["rollback"]):
            assert "expected to be the only writer of i" in fails(*arguments, "--index", "i", cwd=home)
        assert does("log", "--format", "json", cwd=home).stdout.startswith("[")
