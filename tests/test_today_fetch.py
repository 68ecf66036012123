"""A morning with a fetch: day after day, twice a day, after a holiday, and when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import oai_server
import pytest
import today_store
from fake_encoder import FakeEncoder
from oai_server import OaiServer, completed
from today_store import record, records

from embedsearch.errors import EmbedsearchError, ServerError
from embedsearch.search.view import StoreView
from embedsearch.today import DayList, read_day
from embedsearch.today.arrivals import read_memory
from embedsearch.today.morning import Source, morning

OLD = records(120, seed=2, year=2026, month=5)
LIBRARY = ["2605.00003", "2605.00007"]


def announced(id: str, day: str, *, sent: str | None = None, text: str = "star plasma") -> dict:
    """A paper that arXiv has changed last on a day; its first version is of the day before unless it is said."""
    first = date.fromisoformat(sent or day)
    versions = [{"version": "v1", "created": f"{first:%a, %d %b %Y} 12:00:00 GMT"}]
    return completed(record(id, text, day=day)) | {"versions": versions}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return today_store.make_store(tmp_path_factory.mktemp("today"), OLD)


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A store of one's own."""
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def server() -> Iterator[OaiServer]:
    """arXiv on 26 November: a new paper of that day, one of the day before, and an old one that was replaced."""
    with oai_server.serving(
        [
            announced("2611.00001", "2026-11-26", sent="2026-11-25"),
            announced("2611.00002", "2026-11-25", sent="2026-11-24"),
            announced("1901.00001", "2026-11-26", sent="2019-01-05"),
            announced("2611.00003", "2026-11-20", sent="2026-11-19"),
        ]
    ) as server:
        yield server


def run(index: Path, server: OaiServer, day: int, monkeypatch: pytest.MonkeyPatch, **options) -> DayList:
    """A run on a day of November."""
    today = date(2026, 11, day)
    monkeypatch.setattr("embedsearch.fetch.harvest.utc_today", lambda: today)
    server.today = today.isoformat()
    source = Source(base_url=server.url, pause=0)
    return morning(index, LIBRARY, source=source, encoder=FakeEncoder(), today=today, **options)


def ids(day: DayList) -> list[str]:
    return sorted(paper.id for paper in day.papers)


def test_day_after_day(index, server, monkeypatch):
    first = run(index, server, 26, monkeypatch)
    assert (ids(first), first.since, first.until) == (["2611.00001", "2611.00002"], "2026-11-25", "2026-11-26")
    again = run(index, server, 26, monkeypatch)
    assert msgspec.structs.replace(again, made=first.made) == first
    server.records.append(announced("2611.00004", "2026-11-26", sent="2026-11-26"))
    assert ids(run(index, server, 26, monkeypatch)) == ["2611.00001", "2611.00002", "2611.00004"]  # the evening
    server.records.append(announced("2611.00005", "2026-11-27", sent="2026-11-20"))
    second = run(index, server, 27, monkeypatch)
    assert (ids(second), second.since) == (["2611.00005"], "2026-11-26")
    again = run(index, server, 27, monkeypatch)
    assert msgspec.structs.replace(again, made=second.made) == second
    weekend = run(index, server, 28, monkeypatch)
    assert (ids(weekend), weekend.n_new) == ([], 0)
    assert read_day(index) == second
    server.records.append(announced("2611.00006", "2026-11-28", sent="2026-11-01"))  # looked at for weeks
    server.records.append(announced("2611.00007", "2026-11-29", sent="2026-11-28"))
    assert ids(run(index, server, 30, monkeypatch)) == ["2611.00007"]
    assert len(list((index / "today").glob("*.jsonl"))) == 1  # what was fetched before is in the index


def test_a_holiday_costs_nothing(index, server, monkeypatch):
    later, server.records[:] = server.records[:3], server.records[3:]
    assert ids(run(index, server, 21, monkeypatch)) == ["2611.00003"]
    server.records += [*later, announced("2611.00009", "2026-11-23", sent="2026-11-20")]
    day = run(index, server, 29, monkeypatch)
    assert (ids(day), day.since) == (["2611.00001", "2611.00002", "2611.00009"], "2026-11-21")


def test_what_was_added_and_not_listed_is_new_the_next_day(index, server, monkeypatch):
    run(index, server, 26, monkeypatch)
    server.records.append(announced("2611.00005", "2026-11-27", sent="2026-11-26"))

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    for step in ("list_day", "write_day"):
        with monkeypatch.context() as patch:
            patch.setattr(f"embedsearch.today.morning.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                run(index, server, 27, patch)
        assert StoreView.open(index).catalogue.row_of("2611.00005") is not None
    server.records.append(announced("2611.00006", "2026-11-28", sent="2026-11-27"))
    day = run(index, server, 28, monkeypatch)
    assert (ids(day), day.since) == (["2611.00005", "2611.00006"], "2026-11-26")
    assert ids(run(index, server, 29, monkeypatch)) == []


def test_what_the_server_shows_late_is_not_missed(index, server, monkeypatch):
    run(index, server, 26, monkeypatch)
    server.records.append(announced("2611.00005", "2026-11-25", sent="2026-11-24"))
    run(index, server, 27, monkeypatch, since="2026-11-26")
    day = run(index, server, 27, monkeypatch)
    assert (ids(day), day.since) == (["2611.00005"], "2026-11-26")


def test_a_clock_that_was_ahead_is_no_harm(index, server, monkeypatch):
    for day in (28, 29):
        run(index, server, day, monkeypatch)
    server.records.append(announced("2611.00005", "2026-11-26", sent="2026-11-26"))
    day = run(index, server, 26, monkeypatch)
    assert (ids(day), day.since) == (["2611.00001", "2611.00002", "2611.00005"], "2026-11-25")
    server.records.append(announced("2611.00006", "2026-11-27", sent="2026-11-26"))
    day = run(index, server, 27, monkeypatch)
    assert (ids(day), day.since, day.until) == (["2611.00006"], "2026-11-26", "2026-11-27")


def test_days_that_are_asked_for(index, server, monkeypatch):
    run(index, server, 26, monkeypatch)
    server.records.append(announced("2611.00004", "2026-11-27", sent="2026-11-26"))
    known = announced("2605.00009", "2026-11-27", sent="2026-05-09")  # replaced, and in the store long since
    server.records.append(known)
    week = run(index, server, 27, monkeypatch, since="7d")
    assert ids(week) == ["2611.00001", "2611.00002", "2611.00003", "2611.00004"]
    assert week.since == "2026-11-20"
    # What came on the 27th, though both were sent in before
    assert ids(run(index, server, 27, monkeypatch, since="2026-11-27")) == ["2611.00003", "2611.00004"]


def test_days_that_are_asked_for_change_nothing_for_the_next_morning(index, server, monkeypatch):
    first = run(index, server, 26, monkeypatch)
    server.records.append(announced("2611.00008", "2026-11-27", sent="2026-11-26"))
    assert ids(run(index, server, 28, monkeypatch, since="today")) == []
    after = run(index, server, 28, monkeypatch)
    assert (ids(after), after.since) == (["2611.00008"], "2026-11-26")  # the 27th was not passed over
    run(index, server, 28, monkeypatch, since="2026-11-01")
    assert ids(run(index, server, 28, monkeypatch)) == ["2611.00003", *ids(after)]
    assert run(index, server, 28, monkeypatch).since == after.since
    assert first.papers


def test_a_deleted_paper_goes(index, server, monkeypatch):
    assert ids(run(index, server, 26, monkeypatch)) == ["2611.00001", "2611.00002"]
    server.records[0] = {"id": "2611.00001", "deleted": True, "update_date": "2026-11-26"}
    assert ids(run(index, server, 26, monkeypatch)) == ["2611.00002"]
    assert StoreView.open(index).catalogue.row_of("2611.00001") is None


def test_a_fetch_that_fails_leaves_the_store_alone(index, server, monkeypatch):
    run(index, server, 26, monkeypatch)
    before, memory, day = (index / "manifest.json").read_bytes(), read_memory(index), read_day(index)
    server.records.append(announced("2611.00005", "2026-11-28", sent="2026-11-27"))
    server.misbehave = lambda n, query: oai_server.instead("<html>down for maintenance</html>", 404)
    for _ in range(2):
        with pytest.raises(EmbedsearchError, match="expected"):
            run(index, server, 28, monkeypatch)
    assert (index / "manifest.json").read_bytes() == before
    assert (read_memory(index), read_day(index)) == (memory, day)
    server.misbehave = lambda n, query: None
    after = run(index, server, 29, monkeypatch)
    assert (ids(after), after.since) == (["2611.00005"], "2026-11-26")


def test_a_fetch_that_was_cut_goes_on(index, server, monkeypatch):
    server.page_size = 1
    server.misbehave = lambda n, query: oai_server.instead("<html></html>", 404) if n == 2 else None
    with pytest.raises(ServerError):
        run(index, server, 26, monkeypatch)
    n = len(server.queries)
    assert ids(run(index, server, 26, monkeypatch)) == ["2611.00001", "2611.00002"]
    assert "resumptionToken" in server.queries[n]  # not from the beginning


def test_sources_are_remembered_by_their_sets():
    assert Source(sets=("b", "a")).key == Source(sets=("a", "b")).key
    assert len({Source(sets=("a",)).key, Source(sets=("a", "b")).key, Source(sets=("a",), base_url="u").key}) == 3
