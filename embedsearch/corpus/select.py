"""Which papers of a corpus are wanted: by category and by date."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from embedsearch.errors import OptionError
from embedsearch.records import Paper

_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a paper must be to be taken. Empty takes every paper.

    `categories` are patterns as the shell has them (`astro-ph*`), in any case: a paper passes when any of
    its categories matches any of them. `since` and `until` include the day, month or year they name.

    Two dates are compared as precisely as the less precise of them: a paper of which only 2023-01 is known passes
    both since 2023-01-15 and until 2023-01-15, as it may be from either side, and until 2023 means until the end
    of 2023. A paper without a date passes neither.
    """

    categories: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        patterns = self.categories  # one text means that one; a list will do
        object.__setattr__(self, "categories", (patterns,) if isinstance(patterns, str) else tuple(patterns))
        for text in (self.since, self.until):
            if text is not None:
                check_date(text)

    def matches(self, paper: Paper) -> bool:
        """Whether the paper is wanted."""
        return self._matches_category(paper) and self._matches_date(paper.published)

    def _matches_category(self, paper: Paper) -> bool:
        return not self.categories or any(self.matches_category(name) for name in paper.categories)

    def matches_category(self, name: str) -> bool:
        """Whether a category is one of those that are wanted."""
        return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.categories)

    def _matches_date(self, published: str | None) -> bool:
        if self.since is None and self.until is None:
            return True
        if published is None:
            return False
        # zip would do, but slices are what the catalogue's SQL does as well: substr(a, 1, n) against substr(b, 1, n).
        since, until = self.since, self.until
        return (since is None or published[: len(since)] >= since[: len(published)]) and (
            until is None or published[: len(until)] <= until[: len(published)]
        )


def check_date(text: str) -> str:
    """The text itself if it is a date such as 2023, 2023-01 or 2023-01-15; OptionError if not."""
    if isinstance(text, str) and _DATE.fullmatch(text):
        try:
            date.fromisoformat(text + "0000-01-01"[len(text) :])
        except ValueError:
            pass  # the right shape, but no day of the calendar: the same message as for the wrong shape
        else:
            return text
    raise OptionError(f"expected a date such as 2023, 2023-01 or 2023-01-15, found {text!r}")
