"""Days as people name them."""

from __future__ import annotations

from datetime import date

import pytest

from embedsearch.errors import OptionError
from embedsearch.fetch import since_day, until_day

TODAY = date(2026, 3, 15)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2025-01-15", "2025-01-15", "2025-01-15"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2025-12", "2025-12-01", "2025-12-31"),
        ("2025", "2025-01-01", "2025-12-31"),
        ("2026", "2026-01-01", "2026-03-15"),
        ("2026-03", "2026-03-01", "2026-03-15"),
        ("today", "2026-03-15", "2026-03-15"),
        ("yesterday", "2026-03-14", "2026-03-14"),
        ("15d", "2026-02-28", "2026-02-28"),
        ("0d", "2026-03-15", "2026-03-15"),
        ("2026-03-16", "2026-03-16", "2026-03-16"),  # tomorrow: it has begun in the east
        ("0001", "0001-01-01", "0001-12-31"),
    ],
)
def test_first_and_last_day(text: str, first: str, last: str) -> None:
    assert since_day(text, today=TODAY).isoformat() == first
    assert until_day(text, today=TODAY).isoformat() == last


@pytest.mark.parametrize("text", ["2026-03-17", "2026-04", "2027", "9999", "9999-12-31"])
def test_what_has_not_come(text: str) -> None:
    for day in (since_day, until_day):
        with pytest.raises(OptionError, match=f"expected a day up to today, 2026-03-15, found '{text}'"):
            day(text, today=TODAY)


@pytest.mark.parametrize(
    "text", ["", "0000", "2025-13", "2025-02-29", "15.1.2025", "2025-1-5", "d", "-1d", "99999999d", "２０２５"]
)
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(OptionError, match="expected a date such as"):
        since_day(text, today=TODAY)


def test_days_before_the_calendar() -> None:
    with pytest.raises(OptionError, match="before the calendar"):
        since_day("99999d", today=date(100, 1, 1))
