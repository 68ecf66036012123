"""The catalogue: rows, repeated ids, samples, filters."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsearch.corpus import Selection, sample_key
from embedsearch.errors import OptionError, StoreCorrupt
from embedsearch.records import Paper
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.catalogue_writer import CatalogueWriter
from embedsearch.store.filters import Filters, fold_name


def paper(id: str, **changes: Any) -> Paper:
    return Paper(**{"id": id, "abstract": f"About {id}.", "title": f"Title {id}"} | changes)


def catalogue(path: Path, papers: list[Paper], **options: Any) -> Catalogue:
    path.unlink(missing_ok=True)
    writer = CatalogueWriter(path, **options)
    for one in papers:
        writer.add(one, text=one.abstract)
    writer.finish()
    return Catalogue(path)


def test_round_trip(tmp_path: Path) -> None:
    whole = Paper(
        id="2301.00001",
        abstract="Of H$\\alpha$\nand $x<y$",
        title='Schr\\"odinger',
        authors=('A. M\\"uller', "B. O'Neil"),
        categories=("astro-ph.GA", "gr-qc"),
        published="2023-01-02",
        updated="2023-02-03",
        version=2,
        doi="10.1/X",
        journal_ref="J. 1",
        comments="c",
        licence="l",
        extra={"n": [1, "é"]},
    )
    with_few = Paper(id="x", abstract="a")
    read = catalogue(tmp_path / "c", [whole, with_few]).papers(np.array([1, 0]))
    assert [stored.paper for stored in read] == [with_few, whole]
    assert (read[1].title, read[1].authors[0]) == ("Schrödinger", "A. Müller")
    assert read[1].abstract.startswith("Of Hα and x")


def test_a_later_record_stands_in_the_row_of_the_earlier(tmp_path: Path) -> None:
    writer = CatalogueWriter(tmp_path / "c")
    for one in [paper("a"), paper("b"), paper("a", title="Later", categories=("gr-qc",))]:
        writer.add(one, text=one.abstract)
    assert len(writer) == 2
    assert writer.n_repeated == 1
    writer.finish()
    read = Catalogue(tmp_path / "c")
    assert read.ids() == ["a", "b"]
    assert read.papers(np.array([0]))[0].title == "Later"


def test_a_discarded_paper_leaves_no_gap(tmp_path: Path) -> None:
    writer = CatalogueWriter(tmp_path / "c")
    for id in "abc":
        writer.add(paper(id, categories=(f"cat.{id}",)), text=id)
    assert writer.discard("a")
    assert not writer.discard("z")
    writer.finish()
    read = Catalogue(tmp_path / "c")
    assert read.ids() == ["b", "c"]
    assert [row for row, _, _ in read.checksums()] == [0, 1]
    assert read.allowed(Filters(categories=("cat.c",))).tolist() == [False, True]


@pytest.mark.parametrize("n", [1, 7, 50, 80])
def test_a_sample_is_the_same_in_any_order(tmp_path: Path, n: int) -> None:
    ids = [f"p{i}" for i in range(50)]
    expected = set(sorted(ids, key=lambda id: sample_key(id, 3))[:n])
    for seed in range(3):
        shuffled = random.Random(seed).sample(ids, 50)
        again = shuffled + shuffled[:20]  # repeated ids as well
        read = catalogue(tmp_path / "c", [paper(id) for id in again], sample=(n, 3))
        assert read.ids() == [id for id in shuffled if id in expected]


def test_the_checksum_is_over_id_and_text(tmp_path: Path) -> None:
    def checksum(*pairs: tuple[str, str]) -> str:
        (tmp_path / "c").unlink(missing_ok=True)
        writer = CatalogueWriter(tmp_path / "c")
        for id, text in pairs:
            writer.add(paper(id), text=text)
        return writer.finish()

    assert checksum(("a", "x"), ("b", "y")) == checksum(("a", "x"), ("b", "y"))
    assert (
        len({checksum(("a", "x")), checksum(("a", "y")), checksum(("b", "x")), checksum(("a", "x"), ("b", "x"))}) == 4
    )


@pytest.fixture
def filtered(tmp_path: Path) -> Catalogue:
    return catalogue(
        tmp_path / "c",
        [
            paper(
                "a", categories=("astro-ph.GA", "gr-qc"), published="2023-01-15", authors=("August A. Muench", "J. Doe")
            ),
            paper("b", categories=("gr-qc",), published="2023-01", authors=("J\\'er\\^ome Muench-Nash",)),
            paper("c", categories=("astro-ph",), published="2022", authors=("A. Doe", "B. Muench")),
            paper("d", authors=("Łukasz Wyrzykowski", "Rasmus Sørensen")),
            paper("astro-ph/9906432", categories=("astro-ph",)),
        ],
    )


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "abcde"),
        (Filters(categories=("astro-ph*",)), "ace"),
        (Filters(categories=("ASTRO-PH",)), "ce"),
        (Filters(categories=("gr-qc", "astro-ph")), "abce"),
        (Filters(categories=("hep-*",)), ""),
        (Filters(since="2023-01-15"), "ab"),
        (Filters(since="2023-01-16"), "b"),
        (Filters(since="2023-02"), ""),
        (Filters(since="2022-06"), "abc"),
        (Filters(until="2023-01-10"), "bce"),
        (Filters(until="2023"), "abce"),
        (Filters(since="1999-06", until="1999-06"), "e"),
        (Filters(authors=("muench",)), "abc"),
        (Filters(authors=("A. Muench",)), "a"),
        (Filters(authors=("Jerome",)), "b"),
        (Filters(authors=("Muench, A. A.",)), "a"),
        (Filters(authors=("Muench", "Doe")), "ac"),
        (Filters(authors=("J. Muench",)), "b"),
        (Filters(authors=("wyrzykowski",)), "d"),
        (Filters(authors=("SORENSEN",)), "d"),
        (Filters(authors=("uench",)), ""),
        (Filters(authors=("Josefa Muench",)), ""),
        (Filters(authors=("August Adam Muench",)), "a"),
        (Filters(authors="Doe"), "ac"),
        (Filters(authors="M. Muench"), ""),
        (Filters(authors="A. A. Muench"), "a"),
        (Filters(authors="J"), "ab"),
        (Filters(categories="[!g]*"), "ace"),
        (Filters(categories="gr-qc"), "ab"),
        (Filters(categories=["gr-qc"]), "ab"),
        (Filters(categories=("*",), authors=("Doe",), since="2023"), "a"),
    ],
)
def test_filters(filtered: Catalogue, filters: Filters, expected: str) -> None:
    assert "".join("abcde"[row] for row in np.flatnonzero(filtered.allowed(filters))) == expected


@pytest.mark.parametrize(
    "values",
    [{"authors": ""}, {"authors": ["???"]}, {"authors": (5,)}, {"since": ""}, {"since": 2015}, {"until": "2023-13"}],
)
def test_filters_that_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        Filters(**values)


dates = st.sampled_from(["2022", "2023", "2023-01", "2023-02", "2023-01-14", "2023-01-15", "2024-12-31", None])


@given(published=st.lists(dates, min_size=1, max_size=6), since=dates, until=dates)
def test_dates_go_by_the_rule_of_the_corpus(
    tmp_path_factory: pytest.TempPathFactory, published: list[str | None], since: str | None, until: str | None
) -> None:
    papers = [paper(f"p{i}", published=date) for i, date in enumerate(published)]
    read = catalogue(tmp_path_factory.getbasetemp() / "dates", papers)
    expected = [Selection(since=since, until=until).matches(one) for one in papers]
    assert read.allowed(Filters(since=since, until=until)).tolist() == expected


def test_look_ups(filtered: Catalogue) -> None:
    assert filtered.row_of("c") == 2
    assert filtered.row_of("z") is None
    assert filtered.row_of_doi("10.1/x") is None
    assert len(filtered) == 5


def test_a_title_in_any_spelling(tmp_path: Path) -> None:
    read = catalogue(
        tmp_path / "c", [paper("a", title="The $\\alpha$ of M\\\"uller's"), paper("b", title=""), paper("c", title="")]
    )
    assert read.rows_of_title("the α of muller's!") == [0]
    assert read.rows_of_title("the α of") == []
    assert read.rows_of_title("") == []


def test_doi_in_any_case(tmp_path: Path) -> None:
    assert catalogue(tmp_path / "c", [paper("a", doi="10.1086/ABC")]).row_of_doi("10.1086/abc") == 0


@pytest.mark.parametrize("data", [b"", b"x" * 5000, b"SQLite format 3\0" + b"\0" * 200])
def test_what_is_no_catalogue(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(StoreCorrupt, match="expected papers in"):
        Catalogue(tmp_path / "c")


def test_a_path_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %41"
    folder.mkdir()
    assert len(catalogue(folder / "c", [paper("a")])) == 1


@pytest.mark.parametrize(
    ("name", "words"), [("Müller-Lüdenscheidt", "muller ludenscheidt"), ("O'Neil", "o neil"), ("Ł", "l")]
)
def test_fold_name(name: str, words: str) -> None:
    assert " ".join(fold_name(name)) == words
