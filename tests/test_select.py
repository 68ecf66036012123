import pytest

from embedsearch.corpus import Selection, check_date
from embedsearch.errors import OptionError
from embedsearch.records import Paper


def paper(published=None, categories=()):
    return Paper(id="x", abstract="", published=published, categories=categories)


@pytest.mark.parametrize(
    ("patterns", "taken"),
    [
        ((), True),
        (("astro-ph*",), True),
        (("ASTRO-PH.ga",), True),
        (("astro-ph",), False),
        (("cs.*",), True),
        (("hep-th", "gr-qc"), False),
        (("hep-th", "cs.LG"), True),
    ],
)
def test_category(patterns, taken):
    assert Selection(categories=patterns).matches(paper(categories=("astro-ph.GA", "cs.LG"))) is taken


def test_category_of_a_paper_without_any():
    assert Selection().matches(paper())
    assert not Selection(categories=("*",)).matches(paper())


@pytest.mark.parametrize(
    ("published", "since", "until", "taken"),
    [
        ("2023-01", "2023-01-15", None, True),  # it may be from the 15th on
        ("2023-01", None, "2023-01-15", True),
        ("2023-01", "2023-02", None, False),
        ("2023", "2023-06-01", "2023-06-30", True),
        ("2022", "2023-06-01", None, False),
        ("2023-12-31", None, "2023", True),
        ("2024-01-01", None, "2023", False),
        ("2023-01-14", "2023-01-15", None, False),
        ("2023-01-15", "2023-01-15", "2023-01-15", True),
        ("2023-01-16", None, "2023-01-15", False),
        (None, "1990", None, False),
        (None, None, "2030", False),
        (None, None, None, True),
    ],
)
def test_dates_are_compared_as_precisely_as_the_less_precise(published, since, until, taken):
    assert Selection(since=since, until=until).matches(paper(published)) is taken


@pytest.mark.parametrize("text", ["2023", "2023-01", "2023-01-15", "2024-02-29"])
def test_check_date(text):
    assert check_date(text) == text


@pytest.mark.parametrize("text", ["", "23", "2023-13", "2023-02-29", "2023-1", "2023-01-15T00:00", "0000", "last week"])
def test_check_date_refuses(text):
    with pytest.raises(OptionError, match="expected a date such as 2023, 2023-01 or 2023-01-15, found "):
        check_date(text)
    with pytest.raises(OptionError):
        Selection(since=text)
