"""Days as people name them. All are days of UTC: those of the server's datestamps."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta

from embedsearch.errors import OptionError

_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_AGO = re.compile(r"([0-9]{1,5})d")


def utc_today() -> date:
    """The day that it is in UTC."""
    return datetime.now(UTC).date()


def since_day(text: str, *, today: date | None = None) -> date:
    """The first day of what is named: 2025, 2025-01, 2025-01-15, today, yesterday, or 7d (a week ago).

    Raises OptionError for what is none of these, and for a day that has not come yet. The evening of UTC is tomorrow
    in the east, so tomorrow passes.
    """
    today = today or utc_today()
    return _not_future(_span(text, today)[0], text, today)


def until_day(text: str, *, today: date | None = None) -> date:
    """The last day of what is named, but not after today's: 2025 is 2025-12-31. Raises as `since_day` does."""
    today = today or utc_today()
    first, last = _span(text, today)
    return max(min(last, today), _not_future(first, text, today))


def _not_future(day: date, text: str, today: date) -> date:
    if day > today + timedelta(days=1):
        raise OptionError(f"expected a day up to today, {today}, found {text!r}: nothing is there yet")
    return day


def _span(text: str, today: date) -> tuple[date, date]:
    """First and last day."""
    if text in ("today", "yesterday"):
        day = today - timedelta(days=text == "yesterday")
        return day, day
    if found := _AGO.fullmatch(text):
        try:
            day = today - timedelta(days=int(found[1]))
        except OverflowError:
            raise OptionError(f"expected some days, found {text!r}: that is before the calendar") from None
        return day, day
    if found := _DATE.fullmatch(text):
        year, month, day_ = (int(part) if part else None for part in found.groups())
        try:
            assert year is not None
            first = date(year, month or 1, day_ or 1)
            last_month = month or 12
            return first, date(year, last_month, day_ or monthrange(year, last_month)[1])
        except ValueError:
            pass  # the right shape, but no day of the calendar
    raise OptionError(f"expected a date such as 2025-01-15, 2025-01 or 2025, yesterday or 7d, found {text!r}")
