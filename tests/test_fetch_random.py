"""Histories at random: a server that changes from day to day and fails in all its ways, a client that is stopped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fetched_papers import Record, days, deletion, paper
from oai_server import Deed, OaiServer, cut, fault, hang_up, instead, serving, status, truncated

from embedsearch.errors import ServerError
from embedsearch.fetch import fetch

SETS = ("physics:astro-ph", "physics:hep-ph")
ALL_DAYS = days(30)
DEEDS: tuple[Deed, ...] = (status(503, Retry_After="1"), cut, hang_up, truncated, instead("<html>"))


class Killed(BaseException):
    """What no code catches on purpose."""


@pytest.fixture(scope="module")
def server() -> Iterator[OaiServer]:
    with serving([]) as server:
        yield server


def record(random: Random, n: int, day: str) -> Record:
    """Some state of the n-th paper; deletions are of the first set, as they name none."""
    if random.random() < 0.15:
        return deletion(n, day)
    categories = random.choice(("astro-ph.GA", "astro-ph.CO hep-ph", "hep-ph astro-ph.GA"))
    return paper(n, day, title=f"Title {random.random()}", categories=categories)


def change(random: Random, known: dict[int, Record], first: int, last: int) -> None:
    """Papers come and change on the days from the first to the last."""
    for day in ALL_DAYS[first : last + 1]:
        for _ in range(random.randrange(4)):
            n = random.randrange(25)
            known[n] = record(random, n, day)


def stopped(random: Random, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function, or the end."""

    def wrapped(*arguments: Any) -> Any:
        if random.random() < 0.03:
            raise Killed
        result = real(*arguments)
        if random.random() < 0.03:
            raise Killed
        return result

    return wrapped


def misbehave(random: Random) -> Callable[[int, dict[str, str]], Deed | None]:
    def choose(n: int, query: dict[str, str]) -> Deed | None:
        luck = random.random()
        if luck < 0.05 and "resumptionToken" in query:
            return fault("badResumptionToken")
        return random.choice(DEEDS) if luck < 0.2 else None

    return choose


def until_done(server: OaiServer, out: Path) -> None:
    """The same call, however often it ends."""
    for _ in range(200):
        try:
            fetch(SETS, out, since="2026-01-01", base_url=server.url, pause=0.0, sleep=lambda seconds: None)
        except (Killed, ServerError):
            continue
        return
    raise AssertionError("a fetch that never ends")


@pytest.mark.parametrize("seed", range(15))
def test_the_file_is_what_the_server_has(
    server: OaiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    out = tmp_path / random.choice(("papers.jsonl", "papers.jsonl.gz"))
    monkeypatch.setattr("os.fsync", stopped(random, lambda descriptor: None))
    monkeypatch.setattr("os.replace", stopped(random, os.replace))
    server.page_size = random.randrange(1, 6)
    server.tells_size = random.random() < 0.5
    server.misbehave = misbehave(random)
    known: dict[int, Record] = {}
    first = 0
    for last in sorted(random.sample(range(30), 3)):
        change(random, known, first, last)
        first = last  # more may come on that day
        server.today = ALL_DAYS[last]
        server.records = list(known.values())
        until_done(server, out)
    data = out.read_bytes()
    lines = (gzip.decompress(data) if out.suffix == ".gz" else data).splitlines()
    found = [json.loads(line) for line in lines]
    assert [r["update_date"] for r in found] == sorted(r["update_date"] for r in found)
    expected = [{name: value for name, value in r.items() if name != "authors_parsed"} for r in known.values()]
    assert sorted(found, key=lambda r: r["id"]) == sorted(expected, key=lambda r: r["id"])
