"""Search against brute force: every mode, filter and kind of index, with exact scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
from assert_hits import assert_hits
from fake_encoder import WORDS, FakeEncoder

from embedsearch.ann import AnnKind
from embedsearch.build import BuildOptions, build_index
from embedsearch.encoders import Role
from embedsearch.errors import (
    OptionError,
    PaperNotFound,
    QueryError,
    RecipeMismatch,
    StoreCorrupt,
    StoreNotFound,
)
from embedsearch.keywords import KeywordQuery, Keywords
from embedsearch.keywords import index as index_module
from embedsearch.records import Hit, SearchResult
from embedsearch.scores import cosines
from embedsearch.search import HYBRID_WEIGHT, Mode, Searcher, ranking
from embedsearch.search import view as view_module
from embedsearch.search.scored import Lists, mixed
from embedsearch.search.view import StoreView
from embedsearch.store.filters import Filters
from embedsearch.store.space import Space

N = 400
QUERIES = ["star", "plasma dust", "gas", "galaxy galaxy wave", "filler", "Paper 17 or star"]


@pytest.fixture(scope="module", params=list(AnnKind), ids=lambda kind: kind.value)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param.value)
    made = corpora.records(N)
    made[3] |= {"doi": "10.1086/Abc", "authors": "August Muench", "abstract": "We look at NGC 1333. A star is there."}
    corpus = corpora.write(folder / "papers.jsonl", made)
    options = BuildOptions(ann=request.param, shard_rows=64)
    build_index(corpus, folder / "i", encoder=FakeEncoder(), options=options)
    return folder / "i"


@pytest.fixture(scope="module")
def searcher(index: Path) -> Searcher:
    return Searcher.open(index, encoder=FakeEncoder())


class Truth:
    """Scores of all papers, each computed by itself."""

    def __init__(self, index: Path) -> None:
        space = Space.open(index)
        self.ids, self.vectors = list(space.ids), space.vectors
        self.records = {record["id"]: record for record in corpora.records(N)}
        self.keywords = Keywords(next(index.glob("keywords-*")))

    def dense(self, query: str) -> dict[str, float]:
        vector = FakeEncoder().encode([query], role=Role.QUERY)[0]
        return {id: float(cosines(vector, row[None])[0]) for id, row in zip(self.ids, self.vectors, strict=True)}

    def keyword(self, query: str) -> dict[str, float]:
        scores = self.keywords.bm25(KeywordQuery.parse(query), np.arange(N))
        return {id: float(score) for id, score in zip(self.ids, scores, strict=True) if score}

    def hybrid(self, query: str) -> dict[str, float]:
        dense, keyword = self.dense(query), self.keyword(query)
        if not keyword:
            return dense
        best = max(keyword.values())
        w = HYBRID_WEIGHT
        mixed = {id: w * dense[id] + (1 - w) * (keyword.get(id, 0.0) / best) for id in self.ids}
        return {id: float(np.float32(score)) for id, score in mixed.items()}


@pytest.fixture(scope="module")
def truth(index: Path) -> Truth:
    return Truth(index)


def pairs(result: SearchResult) -> list[tuple[str, float]]:
    assert [hit.rank for hit in result.hits] == list(range(1, len(result.hits) + 1))
    return [(hit.id, hit.score) for hit in result.hits]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("k", [1, 7, 150, N, 5 * N])
def test_every_mode_against_all_scores(searcher: Searcher, truth: Truth, index: Path, mode: Mode, k: int) -> None:
    for query in QUERIES:
        found, scores = pairs(searcher.search(query, k=k, mode=mode)), getattr(truth, mode.value)(query)
        if "ivf" in str(index) and mode is not Mode.KEYWORD:  # may miss a paper, and so is held to those that it found
            scores = {id: score for id, score in scores.items() if id in dict(found)}
            assert len(found) == min(k, N)
        assert_hits(found, scores, k=k)


def test_many_papers_are_searched_to_the_same_scores(
    searcher: Searcher, truth: Truth, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done for many papers alone, done for few: the word of most papers is left out of a first search."""
    monkeypatch.setattr(index_module, "LARGE", 0)
    monkeypatch.setattr(index_module, "SMALL", 9.0)
    monkeypatch.setattr(index_module, "FREQUENT", 0.2)
    monkeypatch.setattr(ranking, "FIRST_LISTED", 4)
    for query in [*QUERIES, "Paper on star"]:
        for k in (1, 7):
            found, scores = pairs(searcher.search(query, k=k)), truth.hybrid(query)
            if "ivf" in str(index):
                scores = {id: score for id, score in scores.items() if id in dict(found)}
            assert_hits(found, scores, k=k)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("scanned", [0, 10_000])
@pytest.mark.parametrize(
    ("filters", "allowed"),
    [
        (Filters(categories=("gr-qc",)), lambda r: r["categories"] == "gr-qc"),
        (Filters(authors=("Author3",), since="2020-06"), lambda r: "Author3" in r["authors"] and r["id"] >= "2006"),
        (Filters(until="2019"), lambda r: False),
        (Filters(categories=("*",)), lambda r: True),
        (Filters(authors=("Muench",)), lambda r: r["id"] == corpora.records(4)[3]["id"]),
    ],
    ids=["category", "author and date", "none", "all", "one"],
)
def test_filters_are_exact_in_every_mode(
    searcher: Searcher, truth: Truth, index: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, scanned: int,
    filters: Filters, allowed: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(view_module, "SCANNED_ROWS", scanned)
    for query in QUERIES[:3]:
        scores = {
            id: score for id, score in getattr(truth, mode.value)(query).items()
            if allowed(truth.records[id] | ({"authors": "August Muench"} if id == truth.ids[3] else {}))
        }  # fmt: skip
        found = pairs(searcher.search(query, k=20, mode=mode, filters=filters))
        assert len(found) == min(20, len(scores))
        if "ivf" not in str(index) or mode is Mode.KEYWORD or scanned:
            assert_hits(found, scores, k=20)


def test_similar_to_is_without_itself(searcher: Searcher, truth: Truth, index: Path) -> None:
    id = truth.ids[10]
    scores = {
        other: float(cosines(truth.vectors[10], row[None])[0])
        for other, row in zip(truth.ids, truth.vectors, strict=True)
        if other != id
    }
    found = pairs(searcher.similar_to(f"https://arxiv.org/abs/{id}v3", k=10))
    assert id not in dict(found)
    if "ivf" not in str(index):
        assert_hits(found, scores, k=10)


def test_search_vector(searcher: Searcher, truth: Truth, index: Path) -> None:
    vector = FakeEncoder().encode(["star gas"], role=Role.QUERY)[0]
    found = pairs(searcher.search_vector(vector * 17, k=10))
    if "ivf" not in str(index):
        assert_hits(found, truth.dense("star gas"), k=10)


@pytest.mark.parametrize("length", [1e300, 1e-300, 5e-324])
def test_a_vector_may_have_any_length(searcher: Searcher, length: float) -> None:
    vector = FakeEncoder().encode(["star"], role=Role.QUERY)[0]
    assert searcher.search_vector(vector * np.float64(length)) == searcher.search_vector(vector)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones(7), r"expected a vector of 8 numbers, found float64 \(7,\)"),
        (np.ones((1, 8)), "expected a vector of 8 numbers"),
        (np.array(["x"] * 8), "expected a vector of 8 numbers"),
        (np.ones(8, complex), "expected a vector of 8 numbers"),
        (np.full(8, np.nan), "expected a vector of finite numbers"),
        (np.zeros(8), "not zero"),
    ],
)
def test_vectors_that_are_refused(searcher: Searcher, vector: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        searcher.search_vector(vector)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("form", ["{}", "arXiv:{}v2", "https://arxiv.org/pdf/{}.pdf", "10.48550/arXiv.{}", "doi"])
def test_an_identifier_brings_its_paper_first(searcher: Searcher, truth: Truth, mode: Mode, form: str) -> None:
    query = "https://doi.org/10.1086/ABC" if form == "doi" else form.format(truth.ids[3])
    hits = searcher.search(query, k=5, mode=mode).hits
    assert hits[0].id == truth.ids[3]
    assert len(hits) == (1 if mode is Mode.KEYWORD else 5)
    assert not searcher.search(query, k=5, mode=mode, filters=Filters(until="1999")).hits


@pytest.mark.parametrize("mode", list(Mode))
def test_a_whole_title_brings_its_paper_first(searcher: Searcher, truth: Truth, mode: Mode) -> None:
    record = corpora.records(N)[17]
    for query in (record["title"], f"  {record['title'].upper()}. "):
        whole = searcher.search(query, k=30, mode=mode).hits
        assert whole[0].id == record["id"]
        assert whole[0].score == pytest.approx(getattr(truth, mode.value)(query.strip())[record["id"]], abs=1e-6)
        assert searcher.search(query, k=3, mode=mode).hits == whole[:3]
        assert [hit.score for hit in whole[1:]] == sorted((hit.score for hit in whole[1:]), reverse=True)
    assert record["id"] not in [h.id for h in searcher.search(record["title"], filters=Filters(until="2019")).hits]


def test_an_identifier_that_is_not_here_is_said(searcher: Searcher, caplog: pytest.LogCaptureFixture) -> None:
    assert searcher.search("2512.99999", k=3).hits
    assert "this index holds no paper 2512.99999" in caplog.text


@pytest.mark.parametrize("mode", list(Mode))
def test_what_is_quoted_must_stand_so(searcher: Searcher, truth: Truth, mode: Mode) -> None:
    hits = searcher.search('"a star is" galaxy', mode=mode).hits
    assert [hit.id for hit in hits] == [truth.ids[3]]
    assert not searcher.search('"is star a"', mode=mode).hits
    assert [hit.id for hit in searcher.search('"NGC1333"', mode=mode).hits] == [truth.ids[3]]


def test_what_a_hit_holds(searcher: Searcher, truth: Truth) -> None:
    hit = searcher.search("NGC1333", mode="keyword").hits[0]
    assert hit.id == truth.ids[3]
    assert hit.sentence == "We look at NGC 1333."
    assert (hit.authors, hit.paper.doi, hit.cosine) == (("August Muench",), "10.1086/abc", None)


def test_a_batch_is_encoded_once_and_each_query_once(index: Path) -> None:
    encoder = FakeEncoder()
    searcher = Searcher.open(index, encoder=encoder)
    results = searcher.search(["star", "gas", "star", "2001.10000"], k=2)
    assert (encoder.n_calls, encoder.n_queries) == (1, 2)
    assert results[0] == results[2] == searcher.search("star", k=2)
    searcher.search("star", mode="keyword")
    assert encoder.n_queries == 3


def test_one_text_means_that_one(searcher: Searcher) -> None:
    assert np.array_equal(searcher.embed("star").vectors, searcher.embed(["star"]).vectors)


def test_sort_by_date_orders_the_best_k(searcher: Searcher) -> None:
    best = searcher.search("star", k=20).hits
    newest = searcher.search("star", k=20, sort="date").hits
    assert {hit.id for hit in newest} == {hit.id for hit in best}
    dates = [hit.published or "" for hit in newest]
    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda s: s.search("star", k=0), OptionError, "expected k of at least 1, found 0"),
        (lambda s: s.search(""), QueryError, "expected words to search for, found an empty query"),
        (lambda s: s.search("\x00\x1b \n"), QueryError, "found an empty query"),
        (
            lambda s: s.search("x", mode="fuzzy"),
            OptionError,
            "expected a mode of hybrid, dense, keyword, found 'fuzzy'",
        ),
        (lambda s: s.search("x", sort="size"), OptionError, "expected a sort of score, date, found 'size'"),
        (lambda s: s.search("x", filters=Filters(since="soon")), OptionError, "soon"),
        (lambda s: s.search("x", k=2.5), OptionError, "expected k of at least 1, found 2.5"),
        (lambda s: s.search(["x", ""]), QueryError, "found an empty query, the 2. of 2"),
        (
            lambda s: s.similar_to("2001.99999"),
            PaperNotFound,
            "expected the id of one of the 400 papers in .*2001.99999",
        ),
        (lambda s: s.paper("nope"), PaperNotFound, "found 'nope'"),
        (lambda s: s.paper("\ud800"), PaperNotFound, r"found '\\ud800'"),
        (lambda s: s.search("x", n_counted=-1), OptionError, "expected n_counted of at least 0, found -1"),
    ],
)
def test_what_is_refused(searcher: Searcher, call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call(searcher)


def test_a_long_query_is_cut_and_said(searcher: Searcher, caplog: pytest.LogCaptureFixture) -> None:
    assert searcher.search("star " * 200_000, k=3).hits
    assert "a query of 1,000,000 characters was cut" in caplog.text


def test_another_encoder_is_refused(index: Path) -> None:
    with pytest.raises(RecipeMismatch, match=r"expected the encoder that made the index, found another: weights '"):
        Searcher.open(index, encoder=FakeEncoder("other"))


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="embedsearch build-index"):
        Searcher.open(tmp_path)


def store(folder: Path, name: str = "fake") -> Path:
    corpus = corpora.write(folder / "papers.jsonl", corpora.records(50))
    options = BuildOptions(shard_rows=16, overwrite=True)
    build_index(corpus, folder / "i", encoder=FakeEncoder(name), options=options)
    return folder / "i"


def test_one_paper(tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "p.jsonl", corpora.records(1))
    build_index(corpus, tmp_path / "i", encoder=FakeEncoder())
    searcher = Searcher.open(tmp_path / "i", encoder=FakeEncoder())
    assert [len(searcher.search("star", mode=mode).hits) for mode in ("dense", "hybrid")] == [1, 1]
    assert searcher.similar_to(corpora.records(1)[0]["id"]).hits == ()


def test_a_searcher_answers_from_what_it_opened_and_refreshes(tmp_path: Path) -> None:
    index = store(tmp_path)
    searcher = Searcher.open(index, encoder=FakeEncoder())
    assert not searcher.refresh()
    before = searcher.search("star", k=50)
    store(tmp_path)  # the same papers: a new generation
    assert searcher.search("star", k=50) == before
    assert searcher.refresh()
    assert searcher.generation.number == 2
    assert searcher.search("star", k=50) == before


def test_files_that_went_with_an_old_generation_are_no_error(tmp_path: Path) -> None:
    index = store(tmp_path)
    searcher = Searcher.open(index, encoder=FakeEncoder())
    for _ in range(3):  # the third is begun with the first as the previous one, the fourth without
        store(tmp_path)
    assert not (index / "ann-1-flat.faiss").exists()
    assert searcher.search("star", mode="dense").hits
    assert searcher.generation.number == 4


@pytest.mark.parametrize("pattern", ["ann-*", "vectors/000002-*"])
def test_a_deleted_file_is_named(tmp_path: Path, pattern: str) -> None:
    index = store(tmp_path)
    searcher = Searcher.open(index, encoder=FakeEncoder())
    next(index.glob(pattern)).unlink()
    with pytest.raises(StoreCorrupt, match="found no such file"):
        searcher.search("star", mode="dense", k=50)
    with pytest.raises(StoreCorrupt, match="found no such file"):
        Searcher.open(index)


def test_without_faiss_search_is_exact_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = store(tmp_path)
    expected = Searcher.open(index, encoder=FakeEncoder()).search("star", mode="dense", k=50)
    monkeypatch.setattr(view_module, "faiss_package", lambda: None)
    searcher = Searcher.open(index, encoder=FakeEncoder())
    assert searcher.search("star", mode="dense", k=50) == expected
    searcher.search("gas", mode="dense")
    assert caplog.text.count("FAISS is not installed") == 1


def test_hybrid_does_not_depend_on_how_many_candidates_it_begins_with(tmp_path: Path) -> None:
    """A paper that is far down in both lists can still be among the best: the lists grow until none can."""
    made = corpora.records(900, seed=3)
    index = tmp_path / "i"
    build_index(corpora.write(tmp_path / "p", made), index, encoder=FakeEncoder(), options=BuildOptions(shard_rows=100))
    searcher = Searcher.open(index, encoder=FakeEncoder())
    for query in (*WORDS, "star plasma", "dust gas wave galaxy"):
        whole: tuple[Hit, ...] = searcher.search(query, k=900).hits
        assert len(whole) == 900
        for k in (1, 5, 30):
            assert searcher.search(query, k=k).hits == whole[:k]


def test_hybrid_finds_by_words_what_has_no_vector_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpora.write(tmp_path / "p", corpora.records(N, seed=2))
    with pytest.raises(RuntimeError, match="told to fail"):
        build_index(corpus, tmp_path / "i", encoder=FakeEncoder(fail_at=200), options=BuildOptions(shard_rows=40))
    searcher, view = Searcher.open(tmp_path / "i", encoder=FakeEncoder()), StoreView.open(tmp_path / "i")
    assert 0 < view.vectors.n_rows < N
    rows, ids = np.arange(N), view.catalogue.ids(np.arange(N))
    for listed, frequent in ((1, 2.0), (8, 0.2)):
        monkeypatch.setattr(ranking, "FIRST_LISTED", listed)
        monkeypatch.setattr(index_module, "LARGE", 0)
        monkeypatch.setattr(index_module, "SMALL", 9.0)
        monkeypatch.setattr(index_module, "FREQUENT", frequent)
        for query in ("Paper dust on star", "gas", "plasma wave", "no such word"):
            bm25 = view.keywords.bm25(KeywordQuery.parse(query), rows)
            cosine = view.cosines(FakeEncoder().encode([query], role=Role.QUERY)[0], rows)
            scores = mixed(rows, cosine, bm25, float(bm25.max())).scores
            truth = {ids[row]: float(scores[row]) for row in rows if bm25[row] or not np.isnan(cosine[row])}
            for k in (1, 9, 2 * N):
                assert_hits(pairs(searcher.search(query, k=k)), truth, k=k)


def test_a_title_without_any_word_is_scored_by_its_vector_alone(tmp_path: Path) -> None:
    made, title = corpora.records(60), "x" * 70  # longer than what counts as a word
    made[7] |= {"title": title, "abstract": "star dust dust"}
    build_index(corpora.write(tmp_path / "p", made), tmp_path / "i", encoder=FakeEncoder())
    star = FakeEncoder().encode(["star"], role=Role.QUERY)[0]
    hit = Searcher.open(tmp_path / "i", encoder=FakeEncoder()).search(title, k=1, vectors={title: star}).hits[0]
    assert (hit.id, hit.score) == (made[7]["id"], pytest.approx(5**-0.5, abs=1e-3))


def test_a_score_that_others_may_tie_with_settles_nothing() -> None:
    """float32 of 0.6 cosine is above 0.6 cosine: so may that of a paper be which is a little farther away."""
    candidates = np.linspace(0.5, 0.9, 99, dtype=np.float32).tolist()
    cosine = next(c for c in candidates if float(np.float32(HYBRID_WEIGHT * c)) > HYBRID_WEIGHT * c)
    one, none = np.array([0]), np.zeros(1, np.float32)
    scored = mixed(one, np.array([cosine], np.float32), none, 1.0)
    assert not Lists(one, scored.cosines, none, none, cosine, 0.0, 1.0).settle(scored, 1)


def test_threads_share_a_searcher(searcher: Searcher) -> None:
    from concurrent.futures import ThreadPoolExecutor

    expected = [searcher.search(query, k=5) for query in QUERIES]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda query: searcher.search(query, k=5), QUERIES)) == expected
