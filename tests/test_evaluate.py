"""An evaluation: scores that are search's, measures that are trec_eval's, and what is asked of papers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from scipy.stats import permutation_test

from embedsearch import Searcher
from embedsearch.build import BuildOptions, build_index
from embedsearch.corpus import open_corpus, sample_path, to_text
from embedsearch.encoders import Role
from embedsearch.errors import BadVector, NothingInCommon, OptionError, QueryError
from embedsearch.evaluate import Entry, Evaluation, Papers, Scored, Task, asking, distinct, evaluate, make_sets
from embedsearch.evaluate.measuring import MEASURES, measure, measure_ranked
from embedsearch.evaluate.queries import QuerySet, bundled_queries, sentence_queries, title_queries
from embedsearch.evaluate.scoring import Words, score
from embedsearch.evaluate.series import part_of
from embedsearch.evaluate.significance import holm, permutation_p, queries_to_resolve
from embedsearch.scores import Float32
from embedsearch.search import Mode

MODES = (Mode.DENSE, Mode.KEYWORD, Mode.HYBRID)


class WordEncoder(FakeEncoder):
    """Counts all words, in 16 components by their hash: few papers tie."""

    @property
    def dim(self) -> int:
        return 16

    def _counts(self, text: str) -> list[float]:
        counts = [0.01] * self.dim
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % self.dim] += 1.0
        return counts


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of the sample by two encoders, one of them centred and with an index by FAISS."""
    folder = tmp_path_factory.mktemp("evaluate")
    build_index(sample_path(), folder / "ties", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    options = BuildOptions(transform="center", ann="flat", shard_rows=50)
    build_index(folder / "ties", folder / "words", encoder=WordEncoder("words"), options=options)
    return folder


def entry(home: Path, name: str, *, folder: str | None = None) -> Entry:
    encoder = FakeEncoder() if name == "ties" else WordEncoder("words")
    return Entry.open(home / (folder or name), name=name, encoder=encoder)


def one(home: Path, name: str) -> tuple[Entry, Papers]:
    opened = entry(home, name)
    return opened, Papers.common([opened])[0]


# ---- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ties", "words"])
@pytest.mark.parametrize("mode", MODES)
def test_the_best_are_those_that_search_gives(home: Path, name: str, mode: Mode) -> None:
    opened, papers = one(home, name)
    scored = score(bundled_queries(), opened, papers, papers.rows[0], words=None)
    searcher = Searcher.open(home / name, encoder=entry(home, name).encoder.of(opened.view.generation))
    results = searcher.search(list(scored.queries), k=10, mode=mode)
    assert len(results) == 30
    for (rows, scores), result in zip(scored.top(mode, 10), results, strict=True):
        found = [(papers.ids[row], float(value)) for row, value in zip(rows, scores, strict=True)]
        assert found == [(hit.id, hit.score) for hit in result.hits]


def test_a_phrase_is_asked_of_every_mode(home: Path) -> None:
    opened, papers = one(home, "words")
    asked = replace(bundled_queries(), queries=(replace(bundled_queries().queries[0], text='dust "power spectrum"'),))
    scored = score(asked, opened, papers, papers.rows[0], words=None)
    searcher = Searcher.open(home / "words", encoder=WordEncoder("words"))
    for mode in MODES:
        ((rows, _),) = scored.top(mode, 100)
        hits = searcher.search('dust "power spectrum"', k=100, mode=mode).hits
        assert 0 < len(hits) < 60
        assert [papers.ids[row] for row in rows] == [hit.id for hit in hits]


def small(cosine: list[list[float]], bm25: list[list[float]] | None, *, known_items: bool = False) -> Scored:
    return Scored(
        name="by hand",
        ids=("a", "b", "c", "d"),
        queries=("q",) * len(cosine),
        relevant=({2: 1},) * len(cosine),
        cosine=np.array(cosine, np.float32),
        bm25=None if bm25 is None else np.array(bm25, np.float32),
        known_items=known_items,
        weight=0.5,
    )


NAN = float("nan")


def test_ranks_count_ties_as_before() -> None:
    scored = small([[0.1, 0.5, 0.5, 0.2], [0.9, 0.1, 0.95, 0.2], [NAN, 0.5, 0.4, 0.6]], None)
    assert scored.ranks(Mode.DENSE).tolist() == [2, 1, 3]
    assert scored.modes == (Mode.DENSE,)
    with pytest.raises(OptionError, match="expected a mode that there are scores for, found keyword"):
        scored.ranks(Mode.KEYWORD)


def test_the_first_of_several_answers_ranks_and_answers_are_not_before_one_another() -> None:
    scored = replace(small([[0.9, 0.5, 0.5, 0.2]], None), relevant=({1: 1, 2: 2},))
    assert scored.ranks(Mode.DENSE).tolist() == [2]


def test_ties_are_in_the_order_of_search_but_of_known_items() -> None:
    cosine = [[0.5, 0.4, 0.5, 0.5]]
    assert small(cosine, None).top(Mode.DENSE, 3)[0][0].tolist() == [0, 2, 3]
    assert small(cosine, None, known_items=True).top(Mode.DENSE, 3)[0][0].tolist() == [0, 3, 2]
    assert small(cosine, None, known_items=True).top(Mode.DENSE, 2)[0][0].tolist() == [0, 3]


def test_what_search_does_not_answer_with_is_not_among_the_best() -> None:
    scored = small([[0.2, NAN, 0.4, NAN]], [[0.0, 2.0, 0.0, 0.0]])
    assert scored.top(Mode.DENSE, 9)[0][0].tolist() == [2, 0]
    assert scored.top(Mode.KEYWORD, 9)[0][0].tolist() == [1]
    rows, values = scored.top(Mode.HYBRID, 9)[0]
    assert rows.tolist() == [1, 2, 0]
    assert values.tolist() == pytest.approx([0.5, 0.2, 0.1])
    assert scored.ranks(Mode.KEYWORD).tolist() == [4]  # behind all others
    assert measure(scored, Mode.KEYWORD)["MRR@10"].tolist() == [0]
    assert scored.best_answers(Mode.KEYWORD) == [(2, False)]


def test_a_query_without_a_word_of_the_corpus_goes_by_meaning_alone() -> None:
    scored = small([[0.2, 0.1, 0.4, 0.3]], [[0.0] * 4])
    assert scored.top(Mode.HYBRID, 4)[0][1].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert scored.ranks(Mode.HYBRID, 0.1).tolist() == [1]


def test_in_a_file_and_by_blocks_it_is_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, papers = one(home, "words")
    before = score(bundled_queries(), opened, papers, papers.rows[0], words=None)
    monkeypatch.setattr(asking, "IN_MEMORY", 100)
    monkeypatch.setattr(asking, "BLOCK", 7 * len(papers))
    after = score(bundled_queries(), opened, papers, papers.rows[0], words=None)
    assert isinstance(after.cosine, np.memmap)
    assert [len(some) for some, _ in after.blocks(Mode.DENSE)] == [7, 7, 7, 7, 2]
    for mode in MODES:
        assert before.ranks(mode).tolist() == after.ranks(mode).tolist()
    parts = [after.half(which) for which in (0, 1)]
    assert sorted(parts[0].queries + parts[1].queries) == sorted(before.queries)
    chosen = before.select([3, 1])
    assert chosen.ranks(Mode.HYBRID).tolist() == before.ranks(Mode.HYBRID)[[3, 1]].tolist()


# ---- what is asked ---------------------------------------------------------------------------------------------------


def words_of(found: QuerySet, papers: Papers) -> Float32:
    with Words(papers) as words:
        return words.scores(found)


def test_titles_are_looked_for_in_abstracts_alone(tmp_path: Path) -> None:
    records = [
        {"id": "2001.00001", "title": "zebra crossing", "abstract": "star star gas"},
        {"id": "2001.00002", "title": "Of gas", "abstract": "gas gas star"},
    ]
    corpora.write(tmp_path / "papers.jsonl", records)
    build_index(tmp_path / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    opened = Entry.open(tmp_path / "i", encoder=FakeEncoder())
    papers, _ = Papers.common([opened])
    found = title_queries(papers.by_hash(), 9)
    assert {(q.text, *q.relevant) for q in found.queries} == {(r["title"], r["id"]) for r in records}
    scores = {q.text: row for q, row in zip(found.queries, words_of(found, papers), strict=True)}
    assert scores["zebra crossing"].tolist() == [0, 0]
    assert scores["Of gas"][1] > scores["Of gas"][0] > 0


def test_a_sentence_is_taken_out_of_vectors_and_words(tmp_path: Path) -> None:
    first, second = (
        "The star and the gas are seen in a wave of light.",
        "A galaxy is then observed by a telescope there.",
    )
    records = [
        {"id": "2001.00001", "title": "One", "abstract": f"{first} {second}"},
        {"id": "2001.00002", "title": "Two", "abstract": "planet dust"},
    ]
    corpora.write(tmp_path / "papers.jsonl", records)
    build_index(tmp_path / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    opened = Entry.open(tmp_path / "i", encoder=FakeEncoder())
    papers, _ = Papers.common([opened])
    found = sentence_queries(papers.by_hash(), 9)
    (query,) = found.queries  # the other has but one
    rest = {first: second, second: first}[query.text]
    assert found.changed["2001.00001"].abstract == rest
    words = words_of(found, papers)
    scored = score(found, opened, papers, papers.rows[0], words=words)
    vectors = FakeEncoder().encode([query.text, rest], role=Role.QUERY)
    assert scored.cosine is not None
    assert scored.cosine[0, 0] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)
    shared = set(query.text.lower().split()) & set(rest.lower().split())
    assert shared
    assert words[0, 0] > 0
    assert not set(query.text.split()) <= set(rest.split())


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The Quiet Sky Survey. II. A map", ("the quiet sky survey", 2)),
        ("The quiet sky survey III: a catalogue", ("the quiet sky survey", 3)),
        ("The Quiet Sky Survey – XIV. Its end", ("the quiet sky survey", 14)),
        ("The quiet sky survey (Paper 4)", ("the quiet sky survey", 4)),
        ("The quiet sky survey. Part IX", ("the quiet sky survey", 9)),
        ("Cold clouds: I. Their dust", ("cold clouds", 1)),
        ("H II regions of a galaxy", None),
        ("Supernovae. I. One word is no stem", None),
        ("Ca II H and K lines", None),
        ("A model of 2. order", None),
    ],
)
def test_parts_of_series(title: str, expected: tuple[str, int] | None) -> None:
    assert part_of(title) == expected


def test_a_part_looks_for_the_others_of_its_authors(tmp_path: Path) -> None:
    titles = [
        ("Quiet sky survey. I. Star", "A. Ash and B. Birch"),
        ("Quiet sky survey. II. Gas", "B. Birch"),
        ("Quiet sky survey. III. Dust", "C. Cedar"),
        ("Quiet sky survey. II. Gas, again", "A. Ash"),
        ("Another title of a star", "A. Ash"),
    ]
    records = [
        {"id": f"2001.0000{i}", "title": title, "authors": authors, "abstract": "star gas " * i}
        for i, (title, authors) in enumerate(titles, 1)
    ]
    corpora.write(tmp_path / "papers.jsonl", records)
    build_index(tmp_path / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    opened = Entry.open(tmp_path / "i", encoder=FakeEncoder())
    papers, _ = Papers.common([opened])
    (found,), _ = make_sets(papers, [Task.SERIES])
    asked = {query.id[-1]: {id[-1] for id in query.relevant} for query in found.queries}
    assert asked == {"1": {"2", "4"}, "2": {"1"}, "4": {"1"}}
    scored = score(found, opened, papers, papers.rows[0], words=words_of(found, papers))
    for mode in MODES:
        for query, (rows, _) in zip(found.queries, scored.top(mode, 9), strict=True):
            assert query.id not in {papers.ids[row] for row in rows}
            assert len(rows) == 4


def test_queries_of_the_sample_by_default(home: Path) -> None:
    _, papers = one(home, "ties")
    sets, notes = make_sets(papers, n_queries=40)
    assert [(found.name, len(found)) for found in sets] == [("title", 40), ("sample", 30)]
    assert not notes
    again, _ = make_sets(papers, [Task.TITLE], n_queries=10)
    assert again[0].queries == sets[0].queries[:10]  # by hash: more queries are others beside the same
    with pytest.raises(QueryError, match="series: left out, expected at least 2 such queries, found 0"):
        make_sets(replace_papers(papers, 5), [Task.SERIES])


def replace_papers(papers: Papers, n: int) -> Papers:
    return Papers(ids=papers.ids[:n], rows=tuple(rows[:n] for rows in papers.rows), catalogue=papers.catalogue)


def test_qrels_without_files_are_the_samples_alone(tmp_path: Path) -> None:
    corpora.write(tmp_path / "papers.jsonl", corpora.records(20))
    build_index(tmp_path / "papers.jsonl", tmp_path / "i", encoder=FakeEncoder(), options=BuildOptions(ann="exact"))
    papers, _ = Papers.common([Entry.open(tmp_path / "i", encoder=FakeEncoder())])
    assert [found.name for found in make_sets(papers)[0]] == ["title"]
    with pytest.raises(OptionError, match="expected --queries and --qrels beside --task qrels"):
        make_sets(papers, [Task.QRELS])


# ---- measures --------------------------------------------------------------------------------------------------------


def test_measures_are_what_their_definitions_say() -> None:
    random = np.random.default_rng(0)
    ranked = [random.permutation(300)[:100] for _ in range(50)]
    relevant = [
        dict.fromkeys(random.choice(300, size=random.integers(1, 15), replace=False).tolist(), 1) for _ in ranked
    ]
    found = measure_ranked(ranked, relevant)
    assert tuple(found) == MEASURES
    for i, (rows, answers) in enumerate(zip(ranked, relevant, strict=True)):
        hits = np.flatnonzero(np.isin(rows, list(answers))) + 1  # the ranks of those that answer
        assert found["MRR@10"][i] == pytest.approx(1 / hits[0] if len(hits) and hits[0] <= 10 else 0)
        ideal = sum(1 / np.log2(1 + rank) for rank in range(1, min(10, len(answers)) + 1))
        assert found["nDCG@10"][i] == pytest.approx((1 / np.log2(1 + hits[hits <= 10])).sum() / ideal)
        for k in (1, 10, 100):
            assert found[f"recall@{k}"][i] == pytest.approx((hits <= k).sum() / len(answers))


def test_gains_are_linear_and_nothing_found_is_nothing() -> None:
    found = measure_ranked([np.array([5, 7]), np.array([], np.int64)], [{5: 1, 7: 3}, {1: 1}])
    assert found["nDCG@10"].tolist() == pytest.approx([(1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)), 0])
    assert found["recall@1"].tolist() == [0.5, 0]


def test_permutation() -> None:
    assert permutation_p(np.array([1.0, 1.0, 1.0, 0.0])) == 0.25  # 2 of 8 signs
    assert permutation_p(np.zeros(5)) == permutation_p(np.array([0.0, 1.0])) == 1.0
    random = np.random.default_rng(1)
    apart = random.normal(0.1, 0.3, size=200)
    assert permutation_p(apart) < 0.001
    assert permutation_p(apart) == permutation_p(-apart)
    uniform = [permutation_p(random.normal(size=30), n_draws=500) for _ in range(400)]
    assert 0.02 < np.mean(np.array(uniform) < 0.05) < 0.08


@pytest.mark.parametrize("n", [9, 60])
def test_permutation_is_that_of_scipy(n: int) -> None:
    sample = np.random.default_rng(n).normal(0.2, 1.0, size=n)
    theirs = permutation_test(
        (sample,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    tolerance = 1e-12 if n == 9 else 4 * np.sqrt(2 * theirs.pvalue / 20_000)  # all signs, or so many of them
    assert permutation_p(sample) == pytest.approx(theirs.pvalue, abs=tolerance)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_how_many_queries_would_tell() -> None:
    assert queries_to_resolve(np.array([0.1, -0.1] * 500)) == 786  # (2.80 x 0.1 / 0.01)^2, with n - 1
    assert queries_to_resolve(np.full(9, 0.2)) is None


# ---- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(home: Path) -> Evaluation:
    entries = [entry(home, "ties"), entry(home, "words")]
    papers, notes = Papers.common(entries)
    assert not notes
    sets, _ = make_sets(papers, [Task.TITLE, Task.SENTENCE, Task.QRELS], n_queries=20)
    return evaluate(entries, papers, sets, n_worst=4)


def test_every_entry_by_every_mode(found: Evaluation) -> None:
    asked = [(of.queries, of.entry, of.mode) for of in found.figures]
    expected = [(q, e, m.value) for q in ("title", "sentence", "sample") for e in ("ties", "words") for m in MODES]
    assert asked == expected
    for of in found.figures:
        assert of.n_queries == found.n_queries[of.queries]
        for name, interval in of.intervals.items():
            assert interval.low <= interval.mean <= interval.high
            assert interval.mean == pytest.approx(of.values[name].mean())


def test_ranks_and_reciprocal_ranks_say_the_same_of_known_items(found: Evaluation) -> None:
    for of in found.figures:
        if of.queries == "title" and of.mode != "keyword":
            assert of.values["MRR@10"].tolist() == pytest.approx(np.where(of.ranks <= 10, 1 / of.ranks, 0).tolist())


def test_differences_are_of_what_differs(found: Evaluation) -> None:
    by = {(of.queries, of.mode, of.measure): of for of in found.differences}
    assert not [key for key in by if key[1] == "keyword"]  # the same words
    values = {(of.queries, of.mode, of.entry): of.values["MRR@10"] for of in found.figures}
    than = by["title", "dense", "MRR@10"]
    expected = values["title", "dense", "words"] - values["title", "dense", "ties"]
    assert (than.entry, than.base) == ("words", "ties")
    assert than.value.mean == pytest.approx(expected.mean())
    assert than.value.mean > 0
    assert than.p == permutation_p(expected) <= than.p_holm <= 1
    assert than.n_to_resolve == queries_to_resolve(expected)


def test_recall_of_the_index(found: Evaluation) -> None:
    (recall,) = found.recalls  # the other store is searched exactly
    assert (recall.entry, recall.kind, recall.n_queries, recall.recall.mean) == ("words", "flat", 20, 1.0)


def test_the_worst_queries(found: Evaluation, home: Path) -> None:
    titles = {paper.id: to_text(paper.title) for paper in open_corpus(sample_path())}
    for queries in ("title", "sentence", "sample"):
        for name in ("ties", "words"):
            (of,) = [of for of in found.figures if (of.queries, of.entry, of.mode) == (queries, name, "hybrid")]
            misses = [miss for miss in found.worst if (miss.queries, miss.entry) == (queries, name)]
            assert 0 < len(misses) <= 4
            expected = sorted((rank for rank in of.ranks.tolist() if rank > 1), reverse=True)[:4]
            assert [miss.rank for miss in misses] == expected
            for miss in misses:
                assert miss.mode == "hybrid"
                assert titles[miss.wanted] == miss.wanted_title
                assert miss.first is not None
                assert miss.first != miss.wanted
                assert titles[miss.first] == miss.first_title


def test_entries_are_compared_on_the_papers_that_all_have(home: Path, tmp_path: Path) -> None:
    lines = sample_path().read_text().splitlines()
    (tmp_path / "some.jsonl").write_text("\n".join(reversed(lines[20:90])))
    build_index(tmp_path / "some.jsonl", tmp_path / "some", encoder=WordEncoder("words"))
    entries = [entry(home, "ties"), entry(tmp_path, "words", folder="some")]
    papers, notes = Papers.common(entries)
    assert list(papers.ids) == [json.loads(line)["id"] for line in lines[20:90]]
    assert notes == ["ties: 50 of 120 papers are left out, which others lack"]
    sets, _ = make_sets(papers, [Task.TITLE], n_queries=20)
    both = evaluate(entries, papers, sets)
    alone_entry = entry(tmp_path, "words", folder="some")
    alone_papers, _ = Papers.common([alone_entry])
    alone = evaluate([alone_entry], alone_papers, make_sets(alone_papers, [Task.TITLE], n_queries=20)[0])
    ranks = {of.mode: of.ranks.tolist() for of in alone.figures}
    assert {of.mode: of.ranks.tolist() for of in both.figures if of.entry == "words"} == ranks
    corpora.write(tmp_path / "other.jsonl", corpora.records(5))
    build_index(tmp_path / "other.jsonl", tmp_path / "other", encoder=FakeEncoder())
    with pytest.raises(NothingInCommon, match="expected ties and other to have papers in common, found none"):
        Papers.common([entries[0], Entry.open(tmp_path / "other", name="other", encoder=FakeEncoder())])


def test_of_a_store_that_is_being_built_what_is_there(tmp_path: Path) -> None:
    corpora.write(tmp_path / "papers.jsonl", corpora.records(40))
    options = BuildOptions(shard_rows=10, ann="exact")
    for failing, n in ((0, 0), (15, 10)):
        with pytest.raises(RuntimeError, match="told to fail"):
            build_index(
                tmp_path / "papers.jsonl", tmp_path / str(n), encoder=FakeEncoder(fail_at=failing), options=options
            )
        opened = Entry.open(tmp_path / str(n), name="begun", encoder=FakeEncoder())
        papers, _ = Papers.common([opened])
        sets, _ = make_sets(papers, [Task.TITLE])
        found = evaluate([opened], papers, sets)
        if n:
            assert len(papers) == 10
            assert found.notes == ("begun: 10 of 40 papers have a vector so far; evaluated on these 10",)
            assert [of.mode for of in found.figures] == ["dense", "keyword", "hybrid"]
        else:
            assert len(papers) == 40
            assert found.notes == ("begun: 0 of 40 papers have a vector so far; evaluated by keywords alone",)
            assert [of.mode for of in found.figures] == ["keyword"]
            with pytest.raises(OptionError, match="expected an entry with dense, found none"):
                evaluate([opened], papers, sets, modes=[Mode.DENSE])


def test_entries_get_names_of_their_own(home: Path) -> None:
    opened = [replace(entry(home, name), name="same") for name in ("ties", "words", "words")]
    assert [one.name for one in distinct(opened)] == ["same (ties)", "same (words) 2", "same (words) 3"]
    papers, _ = Papers.common(opened)
    with pytest.raises(OptionError, match="expected entries of different names"):
        evaluate(opened, papers, make_sets(papers, n_queries=5)[0])


def test_a_text_that_cannot_be_embedded_is_named(home: Path) -> None:
    with pytest.raises(BadVector, match="ties, 'not a NAN': expected finite vectors"):
        entry(home, "ties").embed(["star", "not a NAN"], Role.QUERY)


def test_every_score_is_seen_and_progress_told(home: Path) -> None:
    opened, papers = one(home, "ties")
    sets, _ = make_sets(papers, [Task.TITLE, Task.QRELS], n_queries=5)
    seen: Mapping[str, Scored] = {}
    told: list[tuple[str, int, int]] = []
    evaluate([opened], papers, sets, also=seen.__setitem__, progress=lambda *step: told.append(step))  # type: ignore[attr-defined]
    assert {name: len(scored) for name, scored in seen.items()} == {"title": 5, "sample": 30}
    assert ("ties, sample", 30, 30) in told
