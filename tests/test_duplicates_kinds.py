"""What kind of pair two papers are, on invented papers, and the words in which texts differ."""

from __future__ import annotations

import pytest

from embedsearch.duplicates import Kind, words
from embedsearch.duplicates.kinds import is_proceedings, is_thesis, kind_of
from embedsearch.duplicates.series import numerals_of
from embedsearch.duplicates.words import Change, compare_words
from embedsearch.records import Paper
from embedsearch.store.catalogue import StoredPaper

TITLE = "Dust around quiet stars"


def paper(title: str, *, id: str = "2301.00001", by: str = "A. Moreau, B. Lind", **fields: str) -> StoredPaper:
    names = tuple(name for name in by.split(", ") if name)
    return StoredPaper(
        row=0, paper=Paper(id=id, title=title, abstract="", **fields), title=title, abstract="", authors=names
    )


def kind(first: StoredPaper, second: StoredPaper, common: float = 0.1) -> tuple[Kind, str]:
    told, other_way = kind_of(first, second, common), kind_of(second, first, common)
    assert told.kind is other_way.kind
    return told.kind, told.why


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Comment on 'Dust around quiet stars'", "Comment on"),
        ("Reply to: dust around quiet stars", "Reply to"),
        ("Erratum: Dust around quiet stars (2021, PASP)", "Erratum"),
        ("Corrigendum to Dust Around Quiet Stars", "Corrigendum"),
        ("Publisher’s Note: Dust around quiet stars", "Publisher’s Note"),
        ("Dust around quiet stars: a comment", "comment"),
        ("Erratum", "Erratum"),
    ],
)
def test_a_comment_is_one_by_its_title_whoever_wrote_it(title: str, expected: str) -> None:
    found = kind(paper(TITLE), paper(title, id="2302.00002", by="C. Other"))
    assert found == (Kind.COMMENT, f"2302.00002: {expected}")


@pytest.mark.parametrize(
    "title",
    ["Comment on gravity in ten dimensions", "Response of dust around quiet stars", "Corrections to dust around"],
)
def test_what_is_about_something_else_is_no_comment(title: str) -> None:
    assert kind(paper(TITLE), paper(title))[0] is Kind.OTHER


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ({"comments": "PhD thesis, 210 pages"}, True),
        ({"comments": "Doctoral dissertation, in French"}, True),
        ({"journal_ref": "Ph.D. Thesis, University of Nowhere (2020)"}, True),
        ({"comments": "Part of the first author's PhD thesis"}, False),
        ({"comments": "12 pages; based on a master's thesis"}, False),
        ({"comments": "12 pages. Hypothesis tests"}, False),
        ({}, False),
    ],
)
def test_a_thesis_says_so_of_itself(fields: dict[str, str], is_one: bool) -> None:
    thesis = paper("Grains and winds", id="2302.00002", by="B. Lind", **fields)
    assert is_thesis(thesis) == is_one
    found = kind(paper(TITLE), thesis)
    other = (Kind.OTHER, "10 % of the words in common, 1 author in common")
    assert found == ((Kind.THESIS, "2302.00002 is a thesis") if is_one else other)


def test_a_thesis_of_somebody_else_and_two_theses_are_nothing_special() -> None:
    thesis = paper("Grains and winds", by="C. Other", comments="PhD thesis")
    assert kind(paper(TITLE), thesis)[0] is Kind.OTHER
    assert kind(thesis, paper("More grains", by="C. Other", comments="PhD thesis"))[0] is Kind.OTHER


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("The survey. I. A map", "The survey. II. A catalogue of winds", "parts 1 and 2"),
        ("HALOS XVIII: Lenses", "HALOS XXI: More of them", "parts 18 and 21"),
        (
            "Cold dust in the outer disc, Paper 2: gas",
            "Cold dust in the outer disc, Paper 10: a test",
            "parts 2 and 10",
        ),
        ("Wide map, data release 8", "Wide map, data release DR11", "8 and 11 in the title"),
        ("RUNS-4.0: limits on drift", "RUNS-5.0: limits on drift", "4.0 and 5.0 in the title"),
        ("A catalogue of 12,766 faint stars", "A Catalog of 1,408 faint stars", "12766 and 1408 in the title"),
        ("HALOS: a first look at winds", "Halos: stars in the dark", "both HALOS"),
        ("Mission preparation. Straylight", "Mission preparation. Calibration of gains", "both Mission preparation"),
    ],
)
def test_a_series_is_one_by_its_titles(first: str, second: str, why: str) -> None:
    assert kind(paper(first), paper(second, by="Z. Moreau")) == (Kind.SERIES, why)
    assert kind(paper(first, by="A. Moreau"), paper(second, by="C. Other"))[0] is Kind.OTHER


def test_without_authors_numbers_make_a_series_and_a_name_alone_does_not() -> None:
    assert kind(paper("The survey. I. A map", by=""), paper("The survey. II. A catalogue"))[0] is Kind.SERIES
    assert kind(paper("HALOS: a first look", by=""), paper("HALOS: stars in the dark"))[0] is Kind.OTHER


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("DR11 and 12,766 stars", (["dr", "#", "and", "#", "stars"], ["11", "12766"])),
        ("X-ray and L-band maps IV", (["x", "ray", "and", "l", "band", "maps", "#"], ["4"])),
        ("Étoiles at z = 0.5", (["etoiles", "at", "z", "#"], ["0.5"])),
        ("Nothing", (["nothing"], [])),
    ],
)
def test_numerals_are_numbers_and_roman_ones_in_capitals(title: str, expected: tuple[list[str], list[str]]) -> None:
    assert numerals_of(title) == expected


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ({"comments": "8 pages, Proceedings of the 39th International Cosmic Ray Conference"}, True),
        ({"comments": "Poster paper"}, True),
        ({"journal_ref": "PoS(ICRC2025)123"}, False),
        ({"journal_ref": "PoS ICRC 2025 (123)"}, True),
        ({"journal_ref": "Proc. SPIE 1234"}, True),
        ({"journal_ref": "Proceedings of the National Academy of Sciences 12"}, False),
        ({"journal_ref": "Proc. R. Soc. A 12"}, False),
        ({"comments": "accepted"}, False),
    ],
)
def test_proceedings_say_so_of_themselves(fields: dict[str, str], is_one: bool) -> None:
    talk = paper("Grains and winds", id="2302.00002", by="B. Lind", **fields)
    assert is_proceedings(talk) == is_one
    assert kind(paper(TITLE), talk, 0.3)[0] is (Kind.PROCEEDINGS if is_one else Kind.OTHER)
    assert kind(paper(TITLE), talk, 0.2)[0] is Kind.OTHER
    assert kind(paper(TITLE, by="C. Other"), talk, 0.3)[0] is Kind.OTHER


def test_contributions_to_a_conference_may_have_a_title_of_their_own() -> None:
    assert is_proceedings(paper("The HALOS group: Contributions to the 12th Winter Conference"))
    assert not is_proceedings(paper("Contributions of dust to winds"))


@pytest.mark.parametrize(
    ("title", "common", "expected"),
    [
        ("Another title altogether", 1.0, (Kind.SAME, "all of the words in common")),
        ("Another title altogether", 0.9, (Kind.SAME, "90 % of the words in common")),
        ("Dust around quiet stars", 0.999, (Kind.SAME, "the same title, 99 % of the words in common")),
        ("DUST around Quiet Stars!", 0.75, (Kind.SAME, "the same title, 75 % of the words in common")),
        ("Dust around quiet stars", 0.1, (Kind.REVISED, "the same title, 10 % of the words in common")),
        ("Dust around a quiet star", 0.4, (Kind.REVISED, "nearly the same title, 40 % of the words in common")),
        ("Dust around the quiet star", 0.3, (Kind.OTHER, "30 % of the words in common")),
        ("Another title altogether", 0.5, (Kind.REUSED, "50 % of the words in common")),
        ("Another title altogether", 0.49, (Kind.OTHER, "49 % of the words in common")),
    ],
)
def test_the_rest_is_told_from_words(title: str, common: float, expected: tuple[Kind, str]) -> None:
    assert kind(paper(TITLE), paper(title, by=""), common) == expected


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("C. Other", "10 % of the words in common, no author in common"),
        ("C. Lind, D. Other", "10 % of the words in common, 1 author in common"),
        ("B. Lind, Ann Moreau, D. Other", "10 % of the words in common, 2 authors in common"),
        ("B. Lind, Ann Moreau", "10 % of the words in common, by the same authors"),
        ("", "10 % of the words in common"),
    ],
)
def test_of_the_rest_it_is_said_by_whom(by: str, expected: str) -> None:
    assert kind(paper(TITLE), paper("Another title altogether", by=by)) == (Kind.OTHER, expected)


def test_arxiv_may_note_that_text_overlaps() -> None:
    note = "5 pages. arXiv admin note: text overlap with arXiv:2301.00001"
    found = kind(paper(TITLE), paper("Else", id="2302.00002", by="C. Other", comments=note))
    assert found == (Kind.REUSED, "arXiv notes text overlap, 10 % of the words in common, no author in common")
    assert kind(paper(TITLE, id="2301.99999"), paper("Else", by="C. Other", comments=note))[0] is Kind.OTHER


def test_untitled_papers_are_not_of_one_title() -> None:
    assert kind(paper(""), paper(""), 0.5)[0] is Kind.REUSED


def test_words_that_differ_are_told_in_order() -> None:
    common, changes = compare_words("We map  cold dust\nnear stars.", "We map dust near all quiet stars.")
    assert changes == (Change("cold", ""), Change("", "all quiet"))
    assert common == pytest.approx(2 * 5 / (6 + 7))
    assert compare_words("a b c", "a x c") == (pytest.approx(2 / 3), (Change("b", "x"),))
    assert compare_words("", "") == (1.0, ())
    assert compare_words("", "a b") == (0.0, (Change("", "a b"),))


def test_of_endless_texts_the_first_words_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST_WORDS", 3)
    assert compare_words("a a a b", "a a a c d") == (1.0, ())
    assert compare_words("a a b b", "a a c d") == (pytest.approx(2 / 3), (Change("b", "c"),))
