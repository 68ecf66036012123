"""Papers like several, against brute force: scored by the nearest of them or by their mean."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
from assert_hits import assert_hits
from fake_encoder import FakeEncoder

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.errors import OptionError, PaperNotFound, QueryError
from embedsearch.records import SearchResult
from embedsearch.scores import cosines, unit_rows
from embedsearch.search import Combine, Searcher, several
from embedsearch.search import view as view_module
from embedsearch.search.parts import Part, PartedView
from embedsearch.search.several import nearest_of
from embedsearch.store.filters import Filters
from embedsearch.store.space import Space
from embedsearch.update import add, remove

N = 200
RECORDS = corpora.records(N)
IDS = [record["id"] for record in RECORDS]


class Here:
    """Parts that run in this process."""

    def __init__(self, folder: Path, n_parts: int) -> None:
        self.n_parts = n_parts
        self._parts = [Part(folder, part, n_parts) for part in range(n_parts)]

    def ask(self, calls: Sequence[Any], *, patient: bool = False) -> list[Any]:
        return [getattr(self._parts[call.part], call.method)(*call.arguments) for call in calls]


@pytest.fixture(scope="module", params=list(AnnKind), ids=lambda kind: kind.value)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.value)
    corpus = corpora.write(folder / "papers.jsonl", RECORDS)
    options = BuildOptions(ann=request.param, shard_rows=64)
    build_index(corpus, folder / request.param.value, encoder=FakeEncoder(), options=options)
    return folder / request.param.value


@pytest.fixture(scope="module")
def whole(index: Path) -> Searcher:
    return Searcher.open(index, encoder=FakeEncoder())


@pytest.fixture(scope="module")
def parted(index: Path) -> Searcher:
    parts = Here(index, 3)

    def open_view(folder: Path) -> PartedView:
        view = PartedView.open(folder, make=lambda at, manifest: PartedView(at, manifest, parts=parts))
        assert isinstance(view, PartedView)
        return view

    return Searcher.open(index, encoder=FakeEncoder(), open_view=open_view)


@pytest.fixture(scope="module")
def vectors(index: Path) -> dict[str, np.ndarray]:
    space = Space.open(index)
    return dict(zip(space.ids, space.vectors, strict=True))


def truth(vectors: dict[str, np.ndarray], chosen: list[str], combine: Combine) -> dict[str, float]:
    """The score of each other paper, each computed by itself."""
    mine = [vectors[id] for id in dict.fromkeys(chosen)]
    if combine is Combine.MEAN:
        mine = list(unit_rows(np.mean(mine, axis=0, dtype=np.float64)[None]))
    scores = {}
    for id, vector in vectors.items():
        if id not in chosen:
            scores[id] = max(float(cosines(one, vector[None])[0]) for one in mine)
    return scores


def pairs(result: SearchResult) -> list[tuple[str, float]]:
    assert all(hit.score == hit.cosine for hit in result.hits)
    return [(hit.id, hit.score) for hit in result.hits]


CHOSEN = {
    "two": IDS[10:12],
    "one in a list": [IDS[7]],
    "the same twice": [IDS[7], f"arXiv:{IDS[7]}v2"],
    "thirty": IDS[::10],
    "most": IDS[5:],
}


@pytest.mark.parametrize("scanned", [0, 10_000])
@pytest.mark.parametrize("combine", list(Combine))
@pytest.mark.parametrize("chosen", list(CHOSEN.values()), ids=list(CHOSEN))
def test_all_scores_are_those_of_brute_force(
    whole: Searcher,
    parted: Searcher,
    vectors: dict[str, np.ndarray],
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: list[str],
    combine: Combine,
    scanned: int,
) -> None:
    monkeypatch.setattr(view_module, "SCANNED_ROWS", scanned)
    monkeypatch.setattr(several, "BLOCK_NUMBERS", 200)  # so that there are several blocks
    expected = truth(vectors, [id.removeprefix("arXiv:").removesuffix("v2") for id in chosen], combine)
    for searcher, k in itertools.product((whole, parted), (1, 10, 2 * N)):
        found = pairs(searcher.similar_to(chosen, combine=combine, k=k))
        assert len(found) == min(k, len(expected))
        if index.name != "ivf" or scanned:
            assert_hits(found, expected, k=k)
        else:  # may miss a paper
            assert_hits(found, {id: expected[id] for id, _ in found}, k=k)


@pytest.mark.parametrize("combine", list(Combine))
@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        (Filters(categories=("gr-qc",)), lambda r: r["categories"] == "gr-qc"),
        (Filters(authors=("Author3",), since="2020-06"), lambda r: "Author3" in r["authors"] and r["id"] >= "2006"),
        (Filters(until="2019"), lambda r: False),
    ],
    ids=["category", "author and date", "none"],
)
def test_filters_and_facets_are_as_elsewhere(
    whole: Searcher, vectors: dict[str, np.ndarray], combine: Combine, filters: Filters, allowed: Any
) -> None:
    of = {record["id"]: record for record in RECORDS}
    chosen = IDS[:40:8]
    expected = {id: score for id, score in truth(vectors, chosen, combine).items() if allowed(of[id])}
    found = whole.similar_to(chosen, combine=combine.value, k=15, filters=filters, n_counted=30)
    assert_hits(pairs(found), expected, k=15)
    assert found.facets is not None
    assert found.facets.n_counted == min(30, len(expected))
    dated = whole.similar_to(chosen, combine=combine, k=15, filters=filters, sort="date")
    assert sorted(hit.id for hit in dated.hits) == sorted(hit.id for hit in found.hits)
    assert [hit.published for hit in dated.hits] == sorted((hit.published for hit in found.hits), reverse=True)
    assert {hit.id: hit.like for hit in dated.hits} == {hit.id: hit.like for hit in found.hits}


@pytest.mark.parametrize("combine", list(Combine))
def test_each_hit_says_which_it_is_nearest_to(
    whole: Searcher, vectors: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, combine: Combine
) -> None:
    monkeypatch.setattr(several, "BLOCK_NUMBERS", 50)
    chosen = IDS[150:170][::-1]
    for hit in whole.similar_to(chosen, combine=combine, k=100).hits:
        cosine = {id: float(cosines(vectors[id], vectors[hit.id][None])[0]) for id in chosen}
        assert hit.like == min(chosen, key=lambda id: (-cosine[id], id))
        if combine is Combine.NEAREST:
            assert hit.score == cosine[hit.like]


def test_one_paper_is_one_however_it_is_given(whole: Searcher) -> None:
    alone = whole.similar_to(IDS[3], k=20)
    for again in ([IDS[3]], (IDS[3], f"https://arxiv.org/abs/{IDS[3]}v1")):
        for combine in Combine:
            found = whole.similar_to(again, combine=combine, k=20)
            assert [(hit.id, hit.score, hit.like) for hit in found.hits] == [
                (hit.id, pytest.approx(hit.score, abs=1e-6), None) for hit in alone.hits
            ]
            assert found.query == alone.query == IDS[3]


def test_neither_order_nor_repetition_matters(whole: Searcher) -> None:
    chosen = IDS[20:60:3]
    for combine in Combine:
        expected = whole.similar_to(chosen, combine=combine)
        assert whole.similar_to([*reversed(chosen), *chosen], combine=combine) == expected
        assert expected.query == ", ".join(sorted(chosen)[:3]) + f" and {len(chosen) - 3} more"


def test_of_all_papers_none_is_left(whole: Searcher, parted: Searcher) -> None:
    for searcher in (whole, parted):
        assert searcher.similar_to(IDS).hits == searcher.similar_to(IDS, combine="mean").hits == ()


@pytest.mark.parametrize(
    ("ids", "options", "kind", "message"),
    [
        ([], {}, QueryError, "expected the ids of one or more papers, found none"),
        ([IDS[0], "2512.99999"], {}, PaperNotFound, "expected the id of one of the 200 papers .* found '2512.99999'"),
        (IDS[:2], {"combine": "median"}, OptionError, "expected a combine of nearest, mean, found 'median'"),
        (IDS[0], {"combine": "median"}, OptionError, "expected a combine of nearest, mean, found 'median'"),
        (IDS[:2], {"k": 0}, OptionError, "expected k of at least 1"),
    ],
)
def test_what_cannot_be_asked(
    whole: Searcher, ids: Any, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        whole.similar_to(ids, **options)


def made(folder: Path, texts: list[str], encoder: FakeEncoder) -> Path:
    records = [{"id": f"p{i}", "title": f"T{i}", "abstract": text} for i, text in enumerate(texts)]
    options = BuildOptions(shard_rows=2)
    build_index(corpora.write(folder / "few.jsonl", records), folder / "few", encoder=encoder, options=options)
    return folder / "few"


def test_papers_without_a_vector_yet_count_for_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RuntimeError, match="told to fail"):
        made(tmp_path, ["star"] * 3 + ["gas", "dust"], FakeEncoder(fail_at=4))
    searcher = Searcher.open(tmp_path / "few", encoder=FakeEncoder())
    assert searcher.generation.n_embedded == 4
    assert [hit.id for hit in searcher.similar_to(["p4", "p3", "p0"]).hits] == ["p1", "p2"]
    assert "1 of the 3 papers have no vector yet: left out" in caplog.text
    with pytest.raises(QueryError, match="expected papers that have a vector, found none of 1 with one yet: finish"):
        searcher.similar_to(["p4", "p4"])


def test_opposites_have_no_mean() -> None:
    opposed = several.Chosen(("a", "b"), np.array([[1, 0], [-1, 0]], np.float32), np.array([0, 1]))
    with pytest.raises(QueryError, match="found 2 that cancel each other: combine them by the nearest"):
        opposed.mean()


def test_the_nearest_is_found_among_close_ones() -> None:
    """Cosines that a float32 product cannot tell apart, and equal ones."""
    random = np.random.default_rng(1)
    one = random.standard_normal(384)
    chosen = unit_rows(one + 1e-6 * random.standard_normal((50, 384)))
    chosen[30] = chosen[7]
    vectors = unit_rows(one + 1e-3 * random.standard_normal((200, 384)))
    scores, which = nearest_of(vectors, chosen)
    exact = np.array([cosines(mine, vectors) for mine in chosen])
    np.testing.assert_array_equal(scores, exact.max(axis=0))
    np.testing.assert_array_equal(which, exact.argmax(axis=0))


def test_a_library_of_many_is_searched_alike(
    whole: Searcher, vectors: dict[str, np.ndarray], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the number from which on an exact index is not asked for each."""
    monkeypatch.setattr(view_module, "SCANNED_ROWS", 0)
    monkeypatch.setattr(view_module, "ASKED_AT_ONCE", 7)
    chosen = IDS[: view_module.SCANNED_FROM + 10]
    expected = truth(vectors, chosen, Combine.NEAREST)
    found = pairs(whole.similar_to(chosen, k=25))
    assert_hits(found, expected if index.name != "ivf" else {id: expected[id] for id, _ in found}, k=25)


def test_dead_papers_neither_answer_nor_are_answered_for(tmp_path: Path) -> None:
    few = RECORDS[:60]
    build_index(corpora.write(tmp_path / "few.jsonl", few), tmp_path / "i", encoder=FakeEncoder())
    searcher, gone = Searcher.open(tmp_path / "i", encoder=FakeEncoder()), [record["id"] for record in few[::4]]
    chosen = [record["id"] for record in few[1::7]]
    remove(gone, tmp_path / "i")
    changed = [few[2] | {"abstract": "star star dust"}, few[1] | {"abstract": "wave"}]
    add(corpora.write(tmp_path / "more.jsonl", changed), tmp_path / "i", encoder=FakeEncoder())
    assert searcher.refresh()
    space = Space.open(tmp_path / "i")
    vectors = dict(zip(space.ids, space.vectors, strict=True))
    alive = [id for id in chosen if id not in gone]
    assert 0 < len(alive) < len(chosen)
    for combine in Combine:
        expected = truth(vectors, alive, combine)
        assert not expected.keys() & set(gone)
        assert_hits(pairs(searcher.similar_to(alive, combine=combine, k=60)), expected, k=60)
        assert_hits(pairs(searcher.similar_to(alive[0], k=60)), truth(vectors, alive[:1], combine), k=60)
    with pytest.raises(PaperNotFound, match=f"found '{gone[0]}'"):
        searcher.similar_to([alive[0], gone[0]])
    assert searcher.library(chosen).ids == tuple(alive)
