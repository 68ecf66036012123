"""A day's list: order, reasons and percentiles against the same computed by hand; what is new; what is remembered."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import today_store
from fake_encoder import FakeEncoder
from today_store import BATCH, LIBRARY, OLD, record, write

from embedsearch.errors import (
    OptionError,
)
from embedsearch.search.view import StoreView
from embedsearch.today import DayList, read_day
from embedsearch.today import ranking as ranking_module
from embedsearch.today.listing import ENOUGH, Liked, list_day
from embedsearch.today.morning import morning
from embedsearch.today.ranking import n_at_least, rank

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


def by_hand(view: StoreView, rows, library) -> np.ndarray:
    """Each row's cosine with the nearest of the library: (n,) float32, summed in float64."""
    return pairs(view, rows, library).max(axis=1)


def pairs(view: StoreView, rows, library) -> np.ndarray:
    """All cosines, (n, m) float32."""
    one, other = (view.read(np.array(each)).astype(np.float64) for each in (rows, library))
    return (one[:, None] * other[None]).sum(axis=2).astype(np.float32)


@pytest.mark.parametrize("block", [3, 2048])
@pytest.mark.parametrize("n", [1, 7, 400])
def test_rank_is_what_brute_force_gives(built, monkeypatch, block, n):
    monkeypatch.setattr(ranking_module, "BLOCK_ROWS", block)
    view = StoreView.open(built)
    library, rows = np.array([2, 10, 36, 37]), np.setdiff1d(np.arange(310), [2, 10, 36, 37])
    scores, ids = by_hand(view, rows, library), view.catalogue.ids(rows)
    expected = sorted(range(len(rows)), key=lambda i: (-scores[i], ids[i]))[:n]
    found = rank(view, rows, library, n=n, k=3)
    assert [each.row for each in found] == rows[expected].tolist()
    for each in found:
        cosines = pairs(view, [each.row], library)[0]
        assert each.score == cosines.max()
        near = sorted(zip(-cosines, view.catalogue.ids(library), strict=True))
        assert view.catalogue.ids(each.nearest) == [id for _, id in near[:3]]
    assert rank(view, rows[:0], library, n=n, k=3) == []


@pytest.mark.parametrize("block", [3, 2048])
def test_counts_are_what_brute_force_gives(built, monkeypatch, block):
    monkeypatch.setattr(ranking_module, "BLOCK_ROWS", block)
    view = StoreView.open(built)
    library, rows = np.array([2, 10, 36]), np.arange(40, 310)
    scores = by_hand(view, rows, library)
    asked = np.array([each.score for each in rank(view, np.arange(11, 36), library, n=25, k=1)], np.float32)
    expected = [(scores >= score).sum() for score in asked]  # many tie
    assert n_at_least(view, rows, library, asked).tolist() == expected
    assert len(set(expected)) > 5


def test_a_list_says_why_and_how_unusual(index):
    day = run(index, write(index.parent / "new.jsonl", BATCH), n=5)
    view = StoreView.open(index)
    row_of = view.catalogue.row_of
    library = [row_of(id) for id in LIBRARY]
    new = [row_of(one["id"]) for one in BATCH]
    year = [row_of(one["id"]) for one in OLD if one["id"].startswith("2605") and one["id"] not in LIBRARY]
    scores = dict(zip([one["id"] for one in BATCH], by_hand(view, new, library), strict=True))
    of_year = by_hand(view, year, library)
    assert (day.since, day.until) == ("2026-11-01", "2026-11-20")
    assert (day.n_new, day.n_year, day.n_library, day.missing) == (20, 279, 3, [])
    assert [paper.id for paper in day.papers] == sorted(scores, key=lambda id: (-scores[id], id))[:5]
    for paper in day.papers:
        assert paper.cosine == pytest.approx(float(scores[paper.id]), abs=1e-8)
        assert paper.cosine == paper.nearest[0].cosine >= paper.nearest[1].cosine
        assert paper.n_as_near == (of_year >= scores[paper.id]).sum()
        assert paper.percentile == pytest.approx(100 * (1 - paper.n_as_near / 279))
        assert paper.authors == ["A. Author", "B. Writer"]
    assert read_day(index) == day


def test_shared_terms_are_of_the_nearest(index):
    new = record("2611.00050", "star star plasma magnetar flares", day="2026-11-27")
    mine = record("2611.00051", "star plasma star of the magnetar", day="2026-11-26")
    day = run(index, write(index.parent / "new.jsonl", [new, mine]), like=["2611.00051", *LIBRARY])
    assert [paper.id for paper in day.papers] == ["2611.00050"]  # one's own paper is not listed
    assert day.papers[0].nearest[0].id == "2611.00051"
    assert day.papers[0].terms == ["magnetar"]


def test_of_few_papers_there_is_no_percentile(index):
    new = np.array([5, 6])
    liked = Liked(rows=np.array([2]), labels=("mine",))
    view = StoreView.open(index)
    few = list_day(view, new, liked, since=date(2025, 2, 20), until=TODAY, min_percentile=99)
    assert few.n_year == 27 < ENOUGH  # of 30 papers, without the new ones and the library's
    assert [(paper.percentile, paper.n_as_near) for paper in few.papers] == [(None, None)] * 2
    many = list_day(view, new, liked, since=date(2026, 11, 1), until=TODAY)
    assert many.n_year == 280
    bound = many.papers[0].percentile
    best = list_day(view, new, liked, since=date(2026, 11, 1), until=TODAY, min_percentile=bound)
    assert [paper.id for paper in best.papers] == [p.id for p in many.papers if p.percentile >= bound]
    for wrong in ({"n": 0}, {"n": 1001}, {"min_percentile": 101}):
        with pytest.raises(OptionError, match="expected"):
            list_day(view, new, liked, since=TODAY, until=TODAY, **wrong)


def test_the_year_ends_where_the_list_begins(index):
    view, liked = StoreView.open(index), Liked(rows=np.array([0]), labels=("mine",))
    within = list_day(view, np.array([1]), liked, since=date(2026, 5, 10), until=TODAY)
    assert within.n_year == sum(one["update_date"] < "2026-05-10" for one in OLD[30:])
    assert list_day(view, np.array([1]), liked, since=date(2027, 5, 28), until=TODAY).n_year == 10  # of 28 May alone
    assert list_day(view, np.array([1]), liked, since=date(2027, 5, 29), until=TODAY).n_year == 0
