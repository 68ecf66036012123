"""Servers that are busy, away, slow, hostile, or something else: what is asked again, and what is an error."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from fetched_papers import SET, one_a_day, paper
from oai_server import HEAD, Deed, OaiServer, changed, cut, fault, hang_up, instead, serving, status, truncated

from embedsearch.errors import ServerError, StoreError
from embedsearch.fetch import FetchProgress, FetchReport, fetch
from embedsearch.fetch import server as requests
from embedsearch.fetch.server import PAUSE, Server

BOMB = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><OAI-PMH>&b;</OAI-PMH>'


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def server() -> Iterator[OaiServer]:
    with serving(one_a_day(9), page_size=3) as server:
        yield server


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "papers.jsonl"


@pytest.fixture
def slept() -> list[float]:
    """The seconds of each wait, instead of the wait."""
    return []


def get(server: OaiServer, out: Path, slept: list[float], **options: Any) -> FetchReport:
    options = {"since": "2026", "pause": 0.0} | options
    return fetch([SET], out, base_url=server.url, sleep=slept.append, **options)


def n_lines(out: Path) -> int:
    return len({json.loads(line)["id"] for line in out.read_text().splitlines()})


PASSING: dict[str, Deed] = {
    "503": status(503),
    "503 with seconds": status(503, Retry_After="7"),
    "503 with nonsense": status(503, Retry_After="soon"),
    "503 with a year beyond all": status(503, Retry_After="Mon, 01 Jan 99999999999 00:00:00 GMT"),
    "429": status(429, Retry_After="7"),
    "502": status(502),
    "cut": cut,
    "hang up": hang_up,
    "truncated": truncated,
    "HTML": instead("<html><body>Please wait</body></html>"),
    "empty": instead(""),
    "malformed": changed(lambda text: text.replace("</title>", "</titel>", 1)),
    "undefined entity": changed(lambda text: text.replace("abstract.", "&nbsp;", 1)),
    "other XML": instead("<rss/>"),
    "no list": changed(lambda text: text.replace("ListRecords>", "ListIdentifiers>")),
    "not UTF-8": instead(HEAD.encode() + b"<ListRecords>\xff</ListRecords></OAI-PMH>"),
}


@pytest.mark.parametrize("deed", PASSING)
def test_what_passes_is_asked_again(server: OaiServer, out: Path, slept: list[float], deed: str) -> None:
    server.misbehave = lambda n, query: PASSING[deed] if n in (2, 3) else None
    told: list[FetchProgress] = []
    report = get(server, out, slept, progress=told.append)
    assert n_lines(out) == report.n_records == 9
    assert report.n_requests == 6
    assert server.queries[2] == server.queries[3] == server.queries[4]
    waits = [at.waiting for at in told if at.waiting]
    assert waits == ([7.0, 7.0] if PASSING[deed] in (PASSING["503 with seconds"], PASSING["429"]) else [])


@pytest.mark.parametrize("deed", PASSING)
def test_what_does_not_pass_is_one_error_and_the_same_call_goes_on(
    server: OaiServer, out: Path, slept: list[float], deed: str
) -> None:
    server.misbehave = lambda n, query: PASSING[deed] if n >= 3 else None
    with pytest.raises(ServerError, match=r"(?s)expected an answer to ListRecords from 127.*found: .*the same command"):
        get(server, out, slept)
    assert len(server.queries) == 3 + requests.ATTEMPTS
    server.misbehave = lambda n, query: None
    assert get(server, out, slept).n_requests == 1
    assert n_lines(out) == 9


FINAL: dict[str, tuple[Deed, str]] = {
    "404": (status(404), "found 404 Not Found"),
    "403": (status(403), "found 403 Forbidden"),
    "bomb": (instead(BOMB), "without a DOCTYPE"),
    "redirect to another host": (status(302, Location="https://example.org/oai"), "a redirect to example.org; name it"),
    "redirect to a file": (status(302, Location="file:///etc/passwd"), "a redirect to ; name it"),
    "redirects without an end": (status(301, Location="/oai"), "redirects without an end"),
    "an error with its status": (fault("badArgument", "no"), "found badArgument: no"),
    "none that can be read": (changed(lambda text: text.replace("/OAI/arXivRaw/", "/other/")),
                              "expected records as arXivRaw, found 3 that cannot be read, the first: oai:arXiv.org:"),
}  # fmt: skip


@pytest.mark.parametrize("deed", FINAL)
def test_what_is_final_is_one_error_at_once(server: OaiServer, out: Path, slept: list[float], deed: str) -> None:
    what, match = FINAL[deed]
    server.misbehave = lambda n, query: what if n >= 3 else None
    with pytest.raises(ServerError, match=match):
        get(server, out, slept)
    assert len(server.queries) == (7 if "without an end" in deed else 4)
    server.misbehave = lambda n, query: None
    get(server, out, slept)
    assert n_lines(out) == 9


def test_a_token_that_leads_to_itself_is_one_error(server: OaiServer, out: Path, slept: list[float]) -> None:
    first: list[str] = []

    def same(handler: Any, text: str) -> None:
        first.append(text)
        handler.send(200, first[0], {})

    server.misbehave = lambda n, query: same if n >= 1 else None
    with pytest.raises(ServerError, match="found the one that asked for this page"):
        get(server, out, slept)
    assert len(server.queries) == 3
    server.misbehave = lambda n, query: None
    get(server, out, slept)
    assert n_lines(out) == 9


def test_a_redirect_on_the_same_host_is_followed(server: OaiServer, out: Path, slept: list[float]) -> None:
    server.misbehave = lambda n, query: status(302, Location="/other/oai") if n == 2 else None
    assert get(server, out, slept).n_requests == 5
    assert server.queries[2] == server.queries[3]


def test_an_error_of_the_protocol_may_have_a_status(server: OaiServer, out: Path, slept: list[float]) -> None:
    text = f'{HEAD}<error code="badResumptionToken">expired</error></OAI-PMH>'
    server.misbehave = lambda n, query: instead(text, 400) if n == 2 else None
    get(server, out, slept)
    assert n_lines(out) == 9


def test_a_record_that_cannot_be_read_is_left_out_and_named(
    server: OaiServer, out: Path, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    server.misbehave = lambda n, query: (
        changed(lambda text: text.replace("<datestamp>2026-01-02", "<datestamp>")) if n == 1 else None
    )
    report = get(server, out, slept)
    assert (report.n_records, report.n_bad) == (8, 1)
    assert "oai:arXiv.org:2005.00001 without a day cannot be read, and is left out" in caplog.text


def test_requests_keep_the_pause(server: OaiServer, out: Path, slept: list[float]) -> None:
    get(server, out, slept, pause=2.0)
    assert [1.5 < wait <= 2.0 for wait in slept] == [True] * 3


def test_the_pause_holds_between_processes_too(server: OaiServer, out: Path, slept: list[float]) -> None:
    get(server, out, slept)
    get(server, out, slept, pause=2.0)
    assert 1.0 < slept[0] <= 2.0


def test_retry_after_may_be_a_date(server: OaiServer, out: Path, slept: list[float]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server.misbehave = lambda n, query: status(503, Retry_After=at) if n == 2 else None
    get(server, out, slept)
    assert 90 < max(slept) <= 100


def test_retry_after_that_is_short_is_no_less_than_the_pause(server: OaiServer, out: Path, slept: list[float]) -> None:
    server.misbehave = lambda n, query: status(503, Retry_After="0") if n == 2 else None
    get(server, out, slept, pause=5.0)
    assert 5.0 in slept


def test_a_server_that_wants_rest_for_long_is_left_alone(server: OaiServer, out: Path, slept: list[float]) -> None:
    server.misbehave = lambda n, query: status(503, Retry_After="86400") if n == 2 else None
    with pytest.raises(ServerError, match="503 Service Unavailable, which asks for 86,400 seconds of rest; the same"):
        get(server, out, slept)
    assert max(slept, default=0) == 0
    assert len(server.queries) == 3


def test_waits_grow(server: OaiServer, out: Path, slept: list[float]) -> None:
    server.misbehave = lambda n, query: cut if n >= 2 else None
    with pytest.raises(ServerError):
        get(server, out, slept, pause=1.0)
    assert [wait for wait in slept if wait == int(wait)] == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_an_answer_without_an_end_is_refused(
    server: OaiServer, out: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_BYTES", 2000)
    with pytest.raises(ServerError, match="expected an answer below 0 MB from 127"):
        get(server, out, slept)


def test_an_answer_that_takes_for_ever_is_given_up(
    server: OaiServer, out: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_SECONDS", -1.0)
    with pytest.raises(ServerError, match="takes more than"):
        get(server, out, slept)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("<html><body>Hello</body></html>", r"a page for people \(HTML\)"),
        ("hello", "XML that is not whole"),
        ("<feed/>", "XML that begins with <feed>"),
    ],
)
def test_what_is_no_oai_server_is_found_out_soon(
    server: OaiServer, out: Path, slept: list[float], body: str, match: str
) -> None:
    server.misbehave = lambda n, query: instead(body)
    with pytest.raises(ServerError, match=match):
        get(server, out, slept)
    assert len(server.queries) == requests.ATTEMPTS_AT_FIRST
    assert not out.exists()


def test_a_busy_server_is_waited_for_from_the_beginning(server: OaiServer, out: Path, slept: list[float]) -> None:
    server.misbehave = lambda n, query: status(503, Retry_After="5") if n < 4 else None
    assert get(server, out, slept).n_records == 9
    assert slept.count(5.0) == 4


def test_nobody_there_is_one_error(out: Path, slept: list[float]) -> None:
    with serving([paper(1)]) as server:
        pass
    with pytest.raises(ServerError, match=r"expected an answer to Identify from 127.*refused"):
        get(server, out, slept)


def test_a_name_that_no_server_has_is_one_error(out: Path, slept: list[float]) -> None:
    with pytest.raises(ServerError, match=r"expected an answer to Identify from nowhere.invalid, found"):
        fetch([SET], out, base_url="https://nowhere.invalid/oai", sleep=slept.append)
    assert slept[0] >= PAUSE


def test_a_full_disk_is_one_error_and_the_same_call_goes_on(
    server: OaiServer, out: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        if len(server.queries) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"expected to write .*papers.jsonl.part, found: No space left on device"):
        get(server, out, slept)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    get(server, out, slept)
    assert n_lines(out) == 9
    assert len(out.read_text().splitlines()) == 9


def test_what_cannot_be_placed_is_kept(
    server: OaiServer, out: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        if str(target).endswith("papers.jsonl"):
            raise OSError(28, "No space left on device")
        real(source, target)  # type: ignore[arg-type]

    real = os.replace
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StoreError, match=r"expected to write .*papers\.jsonl, found: No space left"):
        get(server, out, slept)
    monkeypatch.undo()
    assert get(server, out, slept).n_requests == 0
    assert n_lines(out) == 9


def test_a_server_that_says_nothing_is_given_up(server: OaiServer, slept: list[float]) -> None:
    is_over = threading.Event()
    server.misbehave = lambda n, query: lambda handler, text: bool(is_over.wait(30))
    with (
        Server(server.url, pause=0.0, timeout=0.05, sleep=slept.append) as asked,
        pytest.raises(ServerError, match=r"expected an answer to Identify from 127.*timed out"),
    ):
        asked.ask("Identify")
    is_over.set()


@pytest.mark.parametrize("is_whole", [True, False])
def test_packed_answers_are_unpacked(server: OaiServer, out: Path, slept: list[float], is_whole: bool) -> None:
    def packed(handler: Any, text: str) -> None:
        data = gzip.compress(text.encode())
        handler.send(200, data if is_whole else data[:20] + b"x" * 50, {"Content-Encoding": "gzip"})

    server.misbehave = lambda n, query: packed if n == 2 else None
    assert get(server, out, slept).n_requests == (4 if is_whole else 5)
    assert n_lines(out) == 9


def test_pauses_are_for_this_machine_alone() -> None:
    for url in ("http://127.0.0.1:1/oai", "http://localhost:1/oai", "http://[::1]:1/oai"):
        with Server(url, pause=0.0) as server:
            assert server.n_requests == 0
