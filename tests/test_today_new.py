"""What is new: by the store, by the date of the first version, by what is remembered; and what is no list."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
import today_store
from fake_encoder import FakeEncoder
from today_store import BATCH, LIBRARY, OLD, record, write, write_bib

from embedsearch.errors import (
    ModelNotFound,
    OptionError,
    PaperNotFound,
    QueryError,
    StoreCorrupt,
    StoreError,
    StoreLocked,
)
from embedsearch.search.view import StoreView
from embedsearch.store.lock import writer_lock
from embedsearch.store.writer import StoreWriter, refuse_what_is_not_ours
from embedsearch.today import DayList, day_path, read_day
from embedsearch.today.arrivals import KEPT, MEMORY_NAME, Memory, read_memory
from embedsearch.today.day import write_day
from embedsearch.today.listing import Liked, list_day
from embedsearch.today.morning import morning

TODAY = date.fromisoformat(today_store.TODAY)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return today_store.make_store(tmp_path_factory.mktemp("today"), OLD)


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A store of one's own."""
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


def run(index: Path, source: Path | None, *, like=LIBRARY, day: date = TODAY, **options) -> DayList:
    return morning(index, like, source=source, encoder=FakeEncoder(), today=day, **options)


def test_a_second_run_on_a_day_lists_the_same(index):
    path = write(index.parent / "new.jsonl", BATCH)
    first = run(index, path)
    again = run(index, path)
    assert first.n_new == 20
    assert msgspec.structs.replace(again, made=first.made) == first
    write(path, [*BATCH, record("2611.00090", "star", day="2026-11-28")])
    assert run(index, path).n_new == 21


def test_on_another_day_they_are_not_new(index):
    path = write(index.parent / "new.jsonl", BATCH)
    first, tomorrow = run(index, path), date(2026, 11, 30)
    nothing = run(index, path, day=tomorrow)
    assert (nothing.n_new, nothing.papers) == (0, [])
    assert read_day(index) == first  # a morning without news leaves the list of the last one
    since = run(index, path, day=tomorrow, since="2026-11-11")
    assert (since.n_new, since.since) == (10, "2026-11-11")


def test_a_paper_that_was_replaced_is_not_new(index):
    replaced = record("1901.00001", "star", day="2019-01-05", update_date="2026-11-28")
    known = {**OLD[40], "abstract": "gas gas wave", "update_date": "2026-11-28"}
    before = record("2610.00001", "star", day="2026-10-20")  # its first version is more than a month before the newest
    undated = {**record("text-1", "star", day=""), "versions": None, "update_date": None}
    latest = record("2611.00030", "star", day="2026-11-28")
    day = run(index, write(index.parent / "new.jsonl", [replaced, known, before, undated, BATCH[19], latest]))
    assert {paper.id for paper in day.papers} == {BATCH[19]["id"], "2611.00030", "text-1"}
    assert StoreView.open(index).catalogue.row_of("1901.00001") is not None  # it was added all the same


def test_what_the_store_has(index):
    day = run(index, None)
    assert (day.since, day.until, day.n_new) == ("2026-05-22", "2026-05-28", 70)  # the last week that it has
    since = run(index, None, since="2026-05-28")
    assert (since.since, since.n_new) == ("2026-05-28", 10)
    assert run(index, None, since="today").n_new == 0


def test_what_cannot_be_done_leaves_the_store_alone(index, built):
    before = (index / "manifest.json").read_bytes()
    path = write(index.parent / "new.jsonl", BATCH)
    with pytest.raises(PaperNotFound, match="expected the id"):
        run(index, path, like=["1234.56789"])
    with pytest.raises(OptionError, match="expected papers"):
        run(index, path, like=[])
    with pytest.raises(OptionError, match="nothing is there yet"):
        run(index, path, since="2027-01-01")
    with writer_lock(index / "today"), pytest.raises(StoreLocked, match="wait for it"):
        run(index, path)
    assert (index / "manifest.json").read_bytes() == before
    assert read_day(index) is None


def test_a_store_that_does_not_know_its_model(index, monkeypatch):
    from embedsearch.store.generation import Generation

    monkeypatch.setattr(Generation, "has_encoder", False)
    with pytest.raises(ModelNotFound, match="--no-fetch"):
        morning(index, LIBRARY, source=write(index.parent / "new.jsonl", BATCH), today=TODAY)
    assert morning(index, LIBRARY, source=None, today=TODAY).n_new == 70


def test_a_store_that_cannot_be_written_is_listed_all_the_same(index, monkeypatch, caplog):
    def refuse(folder, day):
        raise StoreError("expected to write it, found: Read-only file system")

    monkeypatch.setattr("embedsearch.today.morning.write_day", refuse)
    assert run(index, None).n_new == 70
    assert caplog.messages == ["the list is not kept: expected to write it, found: Read-only file system"]
    with pytest.raises(StoreError):
        run(index, write(index.parent / "new.jsonl", BATCH))


def test_a_library_without_vectors(index, monkeypatch):
    view = StoreView.open(index)
    monkeypatch.setattr(view.vectors, "has", lambda rows: rows != 3)
    with pytest.raises(QueryError, match="finish the index"):
        list_day(view, np.array([1, 3]), Liked(rows=np.array([3]), labels=("mine",)), since=TODAY, until=TODAY)


def test_what_is_missing_of_a_library_is_named(index, caplog):
    bib = write_bib(index.parent / "my.bib", [*LIBRARY, "2001.00001", "2001.00002"])
    day = run(index, write(index.parent / "new.jsonl", BATCH), like=[str(bib)])
    assert (day.library, day.n_library, day.missing) == (["my.bib"], 3, ["key3", "key4"])
    assert caplog.messages == []  # a cron job would send it as a mail each morning


def test_a_writer_leaves_the_list_and_the_memory(index):
    run(index, write(index.parent / "new.jsonl", BATCH))
    refuse_what_is_not_ours(index)
    with writer_lock(index):
        StoreWriter(index)
    assert read_day(index) is not None
    assert read_memory(index).arrived(TODAY) == {one["id"] for one in BATCH}


def test_a_list_that_cannot_be_read(tmp_path):
    assert read_day(tmp_path / "nowhere") is None
    for broken in (b"", b"\xff", b"[]", b'{"made": 3}', b"[" * 100_000):
        day_path(tmp_path).write_bytes(broken)
        with pytest.raises(StoreCorrupt, match="expected a day's list"):
            read_day(tmp_path)


def test_a_list_reads_back(tmp_path):
    day = DayList(made="x", since="a", until="b", library=["ü"], n_library=1, n_new=0, papers=[])
    write_day(tmp_path, day)
    assert read_day(tmp_path) == day


def test_memory():
    memory = Memory().with_arrived(TODAY - KEPT, ["old"]).with_arrived(date(2026, 11, 27), ["a", "b"])
    memory = memory.with_arrived(TODAY, ["b", "c"]).with_arrived(TODAY, ["d"])  # b was to come, and did not
    assert memory.arrived(TODAY) == {"b", "c", "d"}
    assert memory.arrived(date(2026, 11, 27)) == {"a", "b", "c", "d"}
    assert memory.arrived(date(2000, 1, 1)) == {"a", "b", "c", "d"}


def test_a_memory_that_cannot_be_read_is_begun_anew(index, caplog):
    path = write(index.parent / "new.jsonl", BATCH)
    run(index, path)
    (index / "today" / MEMORY_NAME).write_text("{")
    assert run(index, path).n_new == 0
    assert "beginning as on the first day" in caplog.text


def test_a_run_that_was_killed_while_adding(index, monkeypatch):
    path = write(index.parent / "new.jsonl", BATCH)

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("embedsearch.update.add", killed)
        with pytest.raises(KeyboardInterrupt):
            run(index, path, day=date(2026, 11, 28))
    day = run(index, path)
    assert day.n_new == 20
    assert read_memory(index).arrived(date(2026, 11, 1)) == read_memory(index).arrived(TODAY)
