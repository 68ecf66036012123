"""`embedsearch fetch` as a shell sees it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fetched_papers import SET, deletion, one_a_day
from oai_server import OaiServer, fault, serving, status
from running import Done, run

from embedsearch.fetch import fetch


@pytest.fixture
def server() -> Iterator[OaiServer]:
    with serving(one_a_day(5)) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has no option for the pause; here it does not wait."""
    monkeypatch.setattr("embedsearch.fetch.fetch", partial(fetch, pause=0.0, sleep=lambda seconds: None))


def ask(server: OaiServer, tmp_path: Path, *options: str, sets: tuple[str, ...] = (SET,)) -> Done:
    return run("fetch", *sets, "--base-url", server.url, *options, cwd=tmp_path)


def fails(server: OaiServer, tmp_path: Path, *options: str, sets: tuple[str, ...] = (SET,)) -> str:
    done = ask(server, tmp_path, *options, sets=sets)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.startswith("Error: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines[-1]


def test_it_says_what_it_asks_for_and_what_came(server: OaiServer, tmp_path: Path) -> None:
    server.records[1] = deletion(1, "2026-01-02")
    done = ask(server, tmp_path, "--since", "2026-01", "--until", "2026-01-20")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        f"papers.jsonl: {SET} of {server.url}, changed from 2026-01-01 to 2026-01-20. One request in 3 seconds.",
        "papers.jsonl: 4 papers, 1 deleted, changed from 2026-01-01 to 2026-01-20; 5 records in all.",
        "Next: embedsearch build-index papers.jsonl, or embedsearch add papers.jsonl",
    ]
    assert len((tmp_path / "papers.jsonl").read_text().splitlines()) == 5


def test_without_a_day_it_takes_the_last_month(server: OaiServer, tmp_path: Path) -> None:
    server.records = []
    assert "papers.jsonl: nothing new, changed from " in ask(server, tmp_path).stderr
    since = server.queries[1]["from"]
    assert 29 <= (time.time() - time.mktime(time.strptime(since, "%Y-%m-%d"))) / 86400 <= 32


def test_the_same_command_goes_on_and_then_brings_up_to_date(server: OaiServer, tmp_path: Path) -> None:
    server.page_size = 2
    server.misbehave = lambda n, query: fault("badArgument", "not now") if n == 2 else None
    assert "badArgument: not now" in fails(server, tmp_path, "--since", "2026")
    done = ask(server, tmp_path)
    assert "changed since 2026-01-01, going on after 2 records" in done.stderr
    assert "5 papers, changed from 2026-01-01 to 2026-01-31; 5 records in all" in done.stderr
    assert "changed since 2026-01-30." in ask(server, tmp_path).stderr


def test_quiet_says_nothing(server: OaiServer, tmp_path: Path) -> None:
    assert ask(server, tmp_path, "--since", "2026", "-q") == Done(0, "", "")


def test_waits_are_told(server: OaiServer, tmp_path: Path) -> None:
    server.misbehave = lambda n, query: status(503, Retry_After="30") if n == 1 else None
    assert (
        f"{SET}: waiting 30 seconds, found: 503 Service Unavailable" in ask(server, tmp_path, "--since", "2026").stderr
    )


def test_who_asks_may_say_so_once(server: OaiServer, tmp_path: Path) -> None:
    run("fetch", SET, "--base-url", server.url, cwd=tmp_path, env={"EMBEDSEARCH_CONTACT": "ada@example.org"})
    assert server.headers[0]["From"] == "ada@example.org"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "2999"], "expected a day up to today"),
        (["--since", "2026-02", "--until", "2026-01"], "expected an end not before the beginning"),
        (["--since", "noon"], "found 'noon'"),
        (["--out", "papers.csv"], "expected a file .jsonl or .jsonl.gz"),
        (["--out", "/proc/papers.jsonl"], "expected to write /proc/papers.jsonl"),
        (["--base-url", "http://127.0.0.1:9/oai"], "expected an answer to Identify from 127.0.0.1:9"),
        (["--base-url", "nowhere"], "expected an address such as https://oaipmh.arxiv.org/oai"),
        (["--contact", "Ünä"], "as contact"),
    ],
)
def test_what_cannot_be_is_one_line(server: OaiServer, tmp_path: Path, options: list[str], expected: str) -> None:
    assert expected in fails(server, tmp_path, *options)


def test_a_set_that_is_not_there_is_one_line(server: OaiServer, tmp_path: Path) -> None:
    assert "found 'astro-ph'; did you mean physics:astro-ph?" in fails(server, tmp_path, sets=("astro-ph",))


def test_a_file_of_somebody_else_is_kept(server: OaiServer, tmp_path: Path) -> None:
    (tmp_path / "papers.jsonl").write_text("mine")
    assert "name another with --out" in fails(server, tmp_path)
    assert (tmp_path / "papers.jsonl").read_text() == "mine"


@pytest.mark.parametrize("arguments", [[], ["--prefix", "oai_dc", SET]])
def test_a_wrong_command_line_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    assert run("fetch", *arguments, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("package", ["lxml", "httpx", "tenacity"])
def test_without_a_package_it_names_the_command(package: str) -> None:
    code = f"import sys; sys.modules['{package}'] = None; import embedsearch.fetch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"MissingExtra: papers are fetched with {package}: pip install 'embedsearch[today]'" in done.stderr


QUICK = """
import functools, sys
import embedsearch.fetch
from embedsearch.cli.main import main
embedsearch.fetch.fetch = functools.partial(embedsearch.fetch.fetch, pause=0.0)
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interruption_keeps_what_came(server: OaiServer, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    is_asked, is_over = threading.Event(), threading.Event()

    def never(handler: object, text: str) -> None:
        is_asked.set()
        is_over.wait(60)

    server.page_size = 2
    server.misbehave = lambda n, query: never if n == 2 else None
    command = [sys.executable, "-c", QUICK, "fetch", SET, "--since", "2026", "--base-url", server.url]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert is_asked.wait(60)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
    is_over.set()
    assert process.returncode == code
    if sent == signal.SIGINT:
        assert stderr.endswith("Interrupted. What was finished is kept: the same command goes on from there.\n")
    assert ask(server, tmp_path, "--since", "2026").returncode == 0
    found = [json.loads(line)["id"] for line in (tmp_path / "papers.jsonl").read_text().splitlines()]
    assert found == [record["id"] for record in server.records]
    assert server.queries[3] == server.queries[2]
