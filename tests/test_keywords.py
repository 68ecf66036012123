"""Keyword search: what a query means, what it finds, and that any query is safe."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedsearch import keywords
from embedsearch.errors import StoreCorrupt
from embedsearch.keywords import KeywordQuery, Keywords
from embedsearch.keywords import index as index_module
from embedsearch.records import Paper
from embedsearch.store.catalogue import StoredPaper

TEXTS = [
    ("Stars in NGC 1333", "Young stars form in the cloud. We see [O III] and Hα.", ["August Muench"]),
    ("Galaxies", "Spiral galaxies and their bars, by Schrödinger.", ["A. Young"]),
    ("Plasma", "A strongly magnetized plasma is turbulent. Turbulent plasma heats.", ["B. Black"]),
    ("Black holes", "Black holes eat stars. The plasma around them is hot.", ["C. Muench"]),
    ("Dust", "Dust, nothing but dust. M31 has dust.", []),
]


def stored(row: int, title: str, abstract: str, authors: list[str]) -> StoredPaper:
    return StoredPaper(
        row=row, paper=Paper(id=str(row), abstract=abstract), title=title, abstract=abstract, authors=tuple(authors)
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Keywords:
    folder = tmp_path_factory.mktemp("keywords") / "k"
    keywords.build(folder, (stored(row, *text) for row, text in enumerate(TEXTS)))
    assert not list(folder.glob("*.lock"))
    return Keywords(folder)


def found(index: Keywords, query: str, k: int = 10) -> list[int]:
    rows, scores = index.candidates(KeywordQuery.parse(query), k)
    assert (np.diff(scores) <= 0).all()
    return rows.tolist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("galaxy", [1]),
        ("Schrodinger", [1]),
        ('Schr\\"odinger', [1]),
        ("NGC1333", [0]),
        ("ngc 1333", [0]),
        ("OIII", [0]),
        ("H$\\alpha$", [0]),
        ("Halpha", [0]),
        ("magnetised", [2]),
        ("M 31", [4]),
        ('"magnetized plasma"', [2]),
        ('"plasma magnetized"', []),
        ('"plasma" stars', [3, 2]),
        ('"NGC1333"', [0]),
        ("„magnetized plasma“", [2]),
        ('5" seeing and 10" beam of dust', [4, 0, 1]),
        ('"NGC 1333" stars', [0]),
        ('"M 31" stars', [4]),
        ("nothing-like-this xyzzy", [4]),
        ("AND OR NOT title:stars", [0, 1, 3]),
    ],
)
def test_finds(index: Keywords, query: str, expected: list[int]) -> None:
    assert found(index, query) == expected


def test_an_author_counts_where_the_word_is_a_name(index: Keywords) -> None:
    assert found(index, "Muench stars")[:2] in ([0, 3], [3, 0])
    assert set(found(index, "Muench")) == {0, 3}
    assert found(index, "young") == [0]  # more texts than authors have it


def test_bm25_of_given_rows_is_that_of_the_search(index: Keywords) -> None:
    query = KeywordQuery.parse("turbulent plasma stars Muench NGC1333")
    rows, scores = index.candidates(query, 10)
    assert (index.bm25(query, rows) == scores).all()
    assert index.bm25(query, np.array([4]))[0] == 0
    assert index.best(query) == scores[0]
    assert index.bm25(KeywordQuery.parse(""), rows).tolist() == [0] * len(rows)


def test_rows_by_name_or_as_a_set_have_the_same_bm25(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(1).choice(["star", "dust", "plasma", "cloud", "ring"], size=(300, 12))
    keywords.build(tmp_path / "k", (stored(i, "", " ".join(row), []) for i, row in enumerate(words)))
    index, query = Keywords(tmp_path / "k"), KeywordQuery.parse("star plasma ring")
    rows, scores = index.candidates(query, 40)
    for named in (0, 40, 1000):
        monkeypatch.setattr(index_module, "TERM_ROWS", named)
        assert (index.bm25(query, rows[::-1]) == scores[::-1]).all()
        assert index.bm25(query, np.arange(300))[rows].tolist() == scores.tolist()


@pytest.mark.parametrize("direct", [0, 100])
def test_filters_are_exact_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: int) -> None:
    monkeypatch.setattr(index_module, "DIRECT_ROWS", direct)
    words = np.random.default_rng(0).choice(["star", "dust", "plasma", "cloud"], size=(300, 12))
    keywords.build(tmp_path / "k", (stored(i, "", " ".join(row), []) for i, row in enumerate(words)))
    index, query = Keywords(tmp_path / "k"), KeywordQuery.parse("star plasma")
    rows, scores = index.candidates(query, 300)
    assert len(rows) > 250
    for share in (0.0, 0.01, 0.3, 1.0):
        allowed = np.random.default_rng(1).random(300) < share
        its_rows, its_scores = index.candidates(query, 5, allowed=allowed)
        inside = allowed[rows]
        n_best = len(its_rows)
        assert n_best >= min(5, inside.sum())
        assert (its_scores == scores[inside][:n_best]).all()
        # The whole group of ties: what comes after is lower
        assert n_best == inside.sum() or scores[inside][n_best] < its_scores[-1]


@given(st.text())
@example('"')
@example('""')
@example('"""')
@example("\x00\x1b[31m")
@example("\ud800")
@example("a" * 100_000)
@example("word " * 100_000)
@example('"' * 9999)
@example("text:x^2 AND (")
def test_any_text_is_a_safe_query(index: Keywords, query: str) -> None:
    index.candidates(KeywordQuery.parse(query), 3)


def test_a_long_query_is_capped() -> None:
    parsed = KeywordQuery.parse(" ".join(f"w{i}" for i in range(5000)))
    assert len(parsed.words) == keywords.MAX_QUERY_WORDS


def test_clean() -> None:
    assert keywords.clean(" a\x00b\ud800\x1b[1m c ") == "a b [1m c"


def test_a_read_only_folder_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "k"
    keywords.build(folder, [stored(0, *TEXTS[0])])
    (folder / ".tantivy-meta.lock").write_text("")  # of a reader that came before
    real = index_module.tantivy.Index.open

    def refuse(path: str) -> object:  # what tantivy says where it cannot make its lock file
        if path == str(folder):
            raise ValueError("Failed to acquire Lockfile: IoError(Read-only file system). None")
        assert not list(Path(path).glob(".*.lock"))
        return real(path)

    monkeypatch.setattr(index_module.tantivy, "Index", type("Index", (), {"open": staticmethod(refuse)}))
    assert found(Keywords(folder), "stars") == [0]


def test_what_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    with pytest.raises(StoreCorrupt, match="expected a keyword index in"):
        Keywords(tmp_path / "k")


def test_damaged_files_are_no_traceback(tmp_path: Path) -> None:
    keywords.build(tmp_path / "k", (stored(row, *text) for row, text in enumerate(TEXTS * 50)))
    query = KeywordQuery.parse('stars plasma "black holes" Muench NGC1333')
    n_refused = 0
    for path in sorted((tmp_path / "k").iterdir()):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 12)):
            # In a copy: what is mapped must not be written to
            broken = tmp_path / f"{path.name}-{at}"
            shutil.copytree(tmp_path / "k", broken)
            (broken / path.name).write_bytes(
                whole[:at] + bytes(255 - byte for byte in whole[at : at + 64]) + whole[at + 64 :]
            )
            try:
                index = Keywords(broken)
                index.candidates(query, 5)
                index.quoted(query, len(TEXTS) * 50)
            except StoreCorrupt:
                n_refused += 1
    assert n_refused > 5


COMMON = "of the and in we that with for"
LARGE_QUERIES = [
    "dust of the stars",
    "hot plasma in the gas and dust",
    "wave with a shock",
    "the dust",
    "of the",
    "A. Writer3",
]


@pytest.fixture(scope="module", params=[0, 240], ids=["all", "some gone"])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keywords:
    """400 papers in which most have the words of COMMON, and few any other; without the first, which BM25 counts."""
    random = np.random.default_rng(4)
    words = ["dust", "star", "gas", "plasma", "shock", "wave", "disk", "jet", "hot", "cold", "ring"]
    rare = [*words, *map("w{}".format, range(60))]
    folder = tmp_path_factory.mktemp("many") / "k"
    texts = [
        " ".join([*random.choice(COMMON.split(), 12), *random.choice(rare, random.integers(1, 9))]) for _ in range(400)
    ]
    keywords.build(folder, (stored(row, "", text, [f"A. Writer{row % 9}"]) for row, text in enumerate(texts)))
    if request.param:
        keywords.extend(folder.with_name("extended"), folder, [], gone=range(request.param))
        folder = folder.with_name("extended")
    return Keywords(folder)


@pytest.fixture
def looks_twice(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows are looked at again, at each search that leaves frequent words out."""
    looked = list[int]()
    bm25 = Keywords.bm25
    monkeypatch.setattr(index_module, "LARGE", 100)
    monkeypatch.setattr(index_module, "SMALL", 0.5)
    monkeypatch.setattr(
        Keywords, "bm25", lambda self, query, rows: (looked.append(len(rows)), bm25(self, query, rows))[1]
    )
    return looked


def test_leaving_frequent_words_out_of_the_first_search_changes_no_score(
    many: Keywords, looks_twice: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for query in map(KeywordQuery.parse, LARGE_QUERIES):
        for k in (1, 5, 30):
            rows, scores = many.candidates(query, k)
            with monkeypatch.context() as at_once:
                at_once.setattr(index_module, "LARGE", 10_000)
                expected = dict(zip(*(each.tolist() for each in many.candidates(query, k)), strict=True))
            assert (np.diff(scores) <= 0).all()
            assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == expected
    assert len(looks_twice) >= 5
    assert max(looks_twice) < 60


def test_what_is_listed_bounds_every_score(many: Keywords, looks_twice: list[int]) -> None:
    everywhere = np.arange(400)
    for query in map(KeywordQuery.parse, LARGE_QUERIES):
        truth = many.bm25(query, everywhere)
        for m in (3, 20, 500):
            listed = many.listed(query, m)
            assert listed.best == truth.max()
            assert (listed.at_least <= truth[listed.rows]).all()
            assert (truth[listed.rows] <= listed.at_most).all()
            assert np.delete(truth, listed.rows).max(initial=0.0) <= listed.others
    assert sum(n < len(many) for n in looks_twice) > 5


def test_bm25_is_the_same_however_rows_are_named(many: Keywords, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(0, 400, 11)
    for query in map(KeywordQuery.parse, LARGE_QUERIES):
        by_word = many.bm25(query, rows)
        with monkeypatch.context() as at_once:
            at_once.setattr(index_module, "FEW_ROWS", 0)
            assert np.array_equal(by_word, many.bm25(query, rows))
            at_once.setattr(index_module, "TERM_ROWS", 0)
            assert np.array_equal(by_word, many.bm25(query, rows))
