"""Counting in a completion: repetition, numbers and names that nobody gave."""

from __future__ import annotations

import pytest

from embedsearch.corpus import to_text
from embedsearch.language.completion_measures import distinct, measure_text, mentions, repetition, words_of


def keys(text: str, *, numbers: bool) -> list[str]:
    return [mention.key for mention in mentions(text) if mention.is_number is numbers]


def test_repetition_is_the_share_of_four_words_that_were_there_before() -> None:
    assert repetition(["a", "b", "c", "d", "e"]) == 0
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 - 4 / 5)  # abcd bcda cdab dabc abcd
    assert repetition(["a", "b", "c"]) is None


def test_distinct_is_over_words_as_in_its_paper() -> None:
    words = ["the", "gas", "and", "the", "gas"]
    assert distinct(words, 1) == 3 / 5
    assert distinct(words, 2) == 3 / 5  # the-gas, gas-and, and-the
    assert distinct([], 1) is None


def test_words_are_letters_and_digits() -> None:
    assert words_of("The star-forming NGC 1333, of α_2") == ["the", "star", "forming", "ngc", "1333", "of", "α", "2"]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("0.30", "0.3"),
        ("1,200", "1200"),
        ("1.2×10³", "1200"),
        ("1.2 x 10³", "1.2×10³"),
        ("10⁻⁴", "1e-4"),
        ("10²", "100"),
        (".5", "0.5"),
        ("0", "0.00"),
        (to_text(r"$1.2\times10^{14}$"), "1.2e14"),
    ],
)
def test_one_number_has_many_spellings(text: str, other: str) -> None:
    assert keys(f"of {text} m", numbers=True) == keys(f"({other}).", numbers=True) != []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("between 10-30 d", ["1e1", "3e1"]),
        ("3.5 +0.2/-0.1 mas", ["35e-1", "2e-1", "1e-1"]),
        ("in 2019. Then 21cm", ["2019e0", "21e0"]),
        ("5 km s⁻¹ of H₂ in 5² fields", ["5e0", "5e0"]),
        ("NGC 1333 and PSR J0437-4715 in 3D with 2MASS, v1.2", []),
        ("123456 and 1,23", ["123456e0", "1e0", "23e0"]),
        ("no number, two words", []),
    ],
)
def test_what_is_a_number(text: str, expected: list[str]) -> None:
    assert keys(text, numbers=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("M31 and Messier 31", ["m31", "m31"]),
        ("HD 209458 b at SDSS J0159+0033", ["hd209458", "j0159p0033"]),
        ("Sgr A* in Hα and [O III]", ["sgra"]),
        ("see arXiv:2309.06126 and arXiv: astro-ph/0301001", ["arxiv:2309.06126", "arxiv:astro-ph/0301001"]),
    ],
)
def test_what_is_a_name(text: str, expected: list[str]) -> None:
    assert keys(text, numbers=False) == expected


def test_digits_without_end_are_taken_as_they_come() -> None:
    assert len(keys("10" + "⁹" * 9000 + " and " + "7" * 9000, numbers=True)) == 2


def test_a_place_is_that_of_the_text() -> None:
    text = "at 1.2×10³ pc of NGC 1333"
    assert (
        [text[m.start : m.end] for m in mentions(text)] == [m.text for m in mentions(text)] == ["1.2×10³", "NGC 1333"]
    )


def test_what_prompt_or_truth_has_is_not_invented() -> None:
    found = measure_text(
        "NGC1333 has 42 stars, 42 of them at 0.30 kpc, unlike HD 1 with 7.",
        known=["We look at NGC 1333.", "It has 42 stars at 0.3 kpc."],
    )
    assert found.known_share(numbers=True) == pytest.approx(2 / 3)  # 42 once, 0.30, 7
    assert found.invented(numbers=True) == ("7",)
    assert found.known_share(numbers=False) == 1 / 2
    assert found.invented(numbers=False) == ("HD 1",)
    assert found.n_words == 16


def test_a_text_without_numbers_has_no_share_of_them() -> None:
    found = measure_text("", known=["3"])
    assert (found.n_words, found.repetition, found.distinct_1, found.distinct_2) == (0, None, None, None)
    assert found.known_share(numbers=True) is None
    assert found.invented(numbers=False) == ()
