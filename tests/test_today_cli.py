"""`today` as a shell and as cron see it: quiet, one at a time, and one line for what cannot be done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import oai_server
import pytest
from fake_encoder import FakeEncoder
from oai_server import completed
from running import Done
from today_store import TODAY, make_home, record, today

from embedsearch.store.lock import writer_lock
from embedsearch.today import read_day

DRIVER = Path(__file__).with_name("today_driver.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a library and a file of new papers."""
    return make_home(tmp_path_factory.mktemp("today"))


@pytest.fixture
def home(built: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    shutil.copytree(built, tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize(("arguments", "expected"), [
    (["new.jsonl"], "Expected --no-fetch beside FILE"),
    (["--no-fetch", "--set", "physics:astro-ph"], "Expected --set without --no-fetch"),
    (["--no-fetch", "--out", "a.pdf"], "Expected --out named"),
    (["--no-fetch", "--out", "./my.bib"], "Expected --out other than --like"),
    (["--no-fetch", "-n", "0"], "-n"),
    (["--no-fetch", "--min-percentile", "101"], "--min-percentile"),
])  # fmt: skip
def test_a_wrong_command_line(built, arguments, expected):
    done = today(built, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


@pytest.mark.parametrize(("like", "arguments", "expected"), [
    ("none.bib", [], "expected a file of BibTeX, found no such file"),
    ("new.jsonl", [], "expected the id of one of the 130 papers"),
    ("2605.00003", ["--since", "tomorrow"], "expected a date such as"),
    ("2605.00003", ["--since", "2999-01-01"], "nothing is there yet"),
    ("2605.00003", ["none.jsonl"], "none.jsonl"),
    ("2605.00003", ["--index", "none"], "expected an index at none"),
    ("2605.00003", ["--out", "/proc/a.md"], "expected to write"),
    ("2605.00003", ["--log", "/proc/a.log"], "expected to write"),
])  # fmt: skip
def test_one_line_for_what_cannot_be_done(built, monkeypatch, like, arguments, expected):
    monkeypatch.setattr("embedsearch.cli.add.service_of", lambda *arguments: FakeEncoder())
    done = today(built, "--no-fetch", *arguments, like=like)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


def cron(home: Path, *arguments: str, day: str = TODAY, hold: Path | None = None) -> subprocess.Popen[str]:
    """Begin it in a process of its own, without a terminal."""
    env = {**os.environ, "EMBEDSEARCH_TEST_DAY": day, **({"EMBEDSEARCH_TEST_HOLD": str(hold)} if hold else {})}
    command = [sys.executable, str(DRIVER), "today", "--index", "index", "--like", "my.bib", *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=home, env=env, text=True, **pipes)


def end(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def test_cron(home):
    """A morning, the same day again, the weekend, and arXiv out of reach."""
    new = completed(record("2611.00001", "star plasma", day="2026-11-28", title="A new one"))
    new["versions"] = [{"version": "v1", "created": "Fri, 27 Nov 2026 12:00:00 GMT"}]
    with oai_server.serving([new]) as server:
        address = ["--oai-url", server.url, "--log", "today.log"]
        first = end(cron(home, *address, "--format", "markdown", day="2026-11-28"))
        assert (first.returncode, first.stderr) == (0, "")
        assert "A new one" in first.stdout
        kept = read_day(home / "index")
        assert kept is not None
        server.records.clear()
        weekend = end(cron(home, *address, day="2026-11-29"))
        assert weekend == Done(0, "", "")
        assert read_day(home / "index") == kept
        before = (home / "index" / "manifest.json").read_bytes()
        server.misbehave = lambda n, query: oai_server.instead("<html>no</html>", 404)
        failed = end(cron(home, *address, day="2026-11-29"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: ")
    assert failed.stderr.count("\n") == 1
    assert (home / "index" / "manifest.json").read_bytes() == before
    told = [line.partition(" ")[2] for line in (home / "today.log").read_text().splitlines()]
    assert told[:2] == [
        "1 new paper from 2026-11-27 to 2026-11-28, 1 listed",
        "0 new papers from 2026-11-28 to 2026-11-29, 0 listed",
    ]
    assert told[2:] == [failed.stderr.strip()]


def test_two_at_once(home):
    hold = home / "go"
    slow = cron(home, "--no-fetch", "new.jsonl", hold=hold)
    until = time.monotonic() + 60
    while not hold.with_suffix(".waiting").exists() and time.monotonic() < until and slow.poll() is None:
        time.sleep(0.02)
    second = end(cron(home, "--no-fetch", "new.jsonl"))
    hold.touch()
    first = end(slow)
    assert (second.returncode, second.stdout) == (1, "")
    assert "expected to be the only writer" in second.stderr
    assert second.stderr.count("\n") == 1
    assert (first.returncode, first.stderr) == (0, "")
    assert "4 new papers" in first.stdout


def test_a_writer_at_work_is_one_line(home, monkeypatch):
    monkeypatch.setattr("embedsearch.cli.add.service_of", lambda *arguments: FakeEncoder())
    with writer_lock(home / "index"):
        done = today(home, "--no-fetch", "new.jsonl")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert today(home, "--no-fetch", "new.jsonl").returncode == 0


def test_what_is_said_to_who_watches(home, monkeypatch):
    monkeypatch.setattr("embedsearch.cli.add.service_of", lambda *arguments: FakeEncoder())
    assert today(home, "--no-fetch", "--since", "2026-11-20") == Done(0, "", "")
    told = today(home, "--no-fetch", "--since", "2026-11-20", "-v")
    assert told == Done(0, "", "Nothing new since 2026-11-20.\n")
