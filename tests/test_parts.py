"""A store in parts answers as the store in one piece does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import records, write
from fake_encoder import FakeEncoder

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError, PaperNotFound, StoreCorrupt
from embedsearch.records import SearchResult
from embedsearch.search import Mode, Searcher
from embedsearch.search import view as view_module
from embedsearch.search.parts import Call, Part, PartedView, bounds, state_of
from embedsearch.search.view import StoreView
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import read_manifest

N = 250
RECORDS = records(N)
PIECES = 3
QUERIES = ["star gas", "galaxy wave plasma star", "filler", '"star gas"', "no such word"]
ASKED = [
    (None, 3),
    (None, N + 5),
    (Filters(categories=("gr-qc",)), N + 5),
    (Filters(authors=("Author3",), since="2020-06"), 3),
    (Filters(until="2019"), 3),
    (Filters(categories=("*",)), 3),
]


class Here:
    """All parts in this process; `asked` has every call."""

    def __init__(self, index: Path, n_parts: int = PIECES) -> None:
        self.n_parts = n_parts
        self.parts = [Part(index, part, n_parts) for part in range(n_parts)]
        self.asked: list[Call] = []

    def ask(self, calls: Sequence[Call], *, patient: bool = False) -> list[Any]:
        self.asked += calls
        return [getattr(self.parts[call.part], call.method)(*call.arguments) for call in calls]


def in_parts(index: Path, parts: Here) -> Searcher:
    def open_view(folder: Path) -> StoreView:
        return StoreView.open(folder, make=partial(PartedView, parts=parts))

    return Searcher.open(index, encoder=FakeEncoder(), open_view=open_view)


def built(folder: Path, ann: str, n: int = N) -> Path:
    papers = write(folder / "papers.jsonl", records(n))
    build_index(papers, folder / ann, encoder=FakeEncoder(), options=BuildOptions(shard_rows=16, ann=AnnKind(ann)))
    return folder / ann


@pytest.fixture(scope="module", params=["exact", "flat", "ivf"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("parts"), request.param)


@pytest.fixture(scope="module")
def whole(index: Path) -> Searcher:
    return Searcher.open(index, encoder=FakeEncoder())


@pytest.fixture(scope="module")
def parted(index: Path) -> Searcher:
    return in_parts(index, Here(index))


def assert_alike(found: SearchResult, expected: SearchResult, *, kind: str) -> None:
    """The same, bit for bit; but of an index that may miss papers, none that is worse."""
    if kind == "ivf" and found != expected:
        pairs = zip(found.hits, expected.hits, strict=True)
        assert all(mine.score >= other.score for mine, other in pairs)
    else:
        assert found == expected


@pytest.mark.parametrize("scanned", [0, 10_000])
@pytest.mark.parametrize("mode", list(Mode))
def test_searches_are_answered_alike(
    whole: Searcher, parted: Searcher, monkeypatch: pytest.MonkeyPatch, mode: Mode, scanned: int
) -> None:
    monkeypatch.setattr(view_module, "SCANNED_ROWS", scanned)
    for query in [*QUERIES, RECORDS[100]["id"], RECORDS[7]["title"]]:
        for filters, k in ASKED:
            asked = {"k": k, "mode": mode, "filters": filters, "n_counted": 20}
            assert_alike(parted.search(query, **asked), whole.search(query, **asked), kind=whole.folder.name)


def test_papers_and_vectors_are_compared_alike(whole: Searcher, parted: Searcher) -> None:
    kind = whole.folder.name
    for record in RECORDS[::50]:
        assert_alike(parted.similar_to(record["id"], k=20), whole.similar_to(record["id"], k=20), kind=kind)
        assert parted.paper(record["id"]) == whole.paper(record["id"])
    vector = np.arange(1, 9, dtype=np.float32)
    assert_alike(parted.search_vector(vector, k=30), whole.search_vector(vector, k=30), kind=kind)
    with pytest.raises(PaperNotFound, match="expected the id of one of the 250 papers"):
        parted.similar_to("1234.56789")


@pytest.mark.parametrize("n_parts", [1, 16])
def test_any_number_of_parts_answers_alike(index: Path, whole: Searcher, n_parts: int) -> None:
    parted = in_parts(index, Here(index, n_parts))
    for query in QUERIES:
        assert_alike(parted.search(query, k=25), whole.search(query, k=25), kind=index.name)


def test_a_part_reads_the_vectors_of_its_own_rows_alone(tmp_path: Path) -> None:
    index = built(tmp_path, "exact")
    shards = read_manifest(index).serving.shards
    first, end = bounds(N, PIECES)[1:3]
    part = Part(index, 1, PIECES)
    for shard in shards:
        if shard.first_row >= end or shard.first_row + shard.n_rows <= first:
            (index / shard.file.name).unlink()
    query = FakeEncoder().encode(["star gas"], role="query")[0]
    near, rows, _ = part.around(state_of(read_manifest(index, check_files=False).serving), query, 10, None, rows_of())
    assert len(near) >= 10
    assert first <= rows.min() <= rows.max() < end


def rows_of(*rows: int) -> Any:
    return np.array(rows, np.int64)


def test_each_query_goes_to_the_parts_that_may_answer_it(tmp_path: Path) -> None:
    index = built(tmp_path, "exact")
    here = Here(index)
    parted = in_parts(index, here)
    parted.search("star gas", mode="dense")
    assert [(call.part, call.method) for call in here.asked] == [(0, "around"), (1, "around"), (2, "around")]
    here.asked.clear()
    parted.search("star gas", mode="keyword")
    assert here.asked == []
    parted.search(RECORDS[249]["id"], mode="dense", filters=Filters(until="2019"))
    assert [(call.part, call.method) for call in here.asked] == [(2, "read")]


def test_while_a_store_grows_each_state_is_answered_from_its_own(tmp_path: Path) -> None:
    index = built(tmp_path, "exact", n=100)
    here = Here(index)
    before, whole = in_parts(index, here), Searcher.open(index, encoder=FakeEncoder(), follows=False)
    papers = write(tmp_path / "more.jsonl", records(180, seed=5))
    build_index(
        papers, index, encoder=FakeEncoder(), options=BuildOptions(shard_rows=16, ann=AnnKind.EXACT, overwrite=True)
    )
    after = in_parts(index, here)
    assert before.search("star", k=20) == whole.search("star", k=20)
    assert after.search("star", k=20) == Searcher.open(index, encoder=FakeEncoder()).search("star", k=20)
    assert before.search("gas", k=20) == whole.search("gas", k=20)


def test_a_state_that_is_gone_is_said_to_be(index: Path) -> None:
    with pytest.raises(
        StoreCorrupt, match=r"expected a state of .* that is asked for, found that others took its place"
    ):
        Part(index, 0, 2).open("another")


def test_threads_may_share_the_parts(index: Path, whole: Searcher, parted: Searcher) -> None:
    found: list[SearchResult] = []
    threads = [threading.Thread(target=lambda: found.append(parted.search("star gas", k=20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for result in found:
        assert_alike(result, whole.search("star gas", k=20), kind=index.name)


@pytest.mark.parametrize("n_parts", [0, 8])
def test_there_are_no_more_parts_than_papers(n_parts: int) -> None:
    with pytest.raises(OptionError, match=rf"as many parts as there are papers \(7\), found {n_parts}"):
        bounds(7, n_parts)
    assert bounds(7, 3).tolist() == [0, 2, 4, 7]
