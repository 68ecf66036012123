"""Which papers may answer, and how names are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from embedsearch.corpus import check_date
from embedsearch.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which papers may answer; those that are empty let all through.

    `categories` are patterns (`astro-ph*`), any of which may match any category of a paper, in any case. `since` and
    `until` are days, months or years, compared with a paper's date at the precision of the coarser of the two: a paper
    known as 2023-01 passes `since="2023-01-15"`. `authors` must each match one author: each of its words is a word of
    the name, or one of the two is the other's initial (a whole word of the query must be one of the name); accents and
    case are ignored. Raises OptionError for a date that is none and an author without a letter.
    """

    categories: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    authors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("categories", "authors"):  # one text means that one; a list will do
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for date in (self.since, self.until):
            if date is not None:
                check_date(date)
        for author in self.authors:
            if not isinstance(author, str) or not fold_name(author):
                raise OptionError(f"expected the name of an author, found {author!r}")

    def __bool__(self) -> bool:
        return self != Filters()


def fold_name(name: str) -> list[str]:
    """The words of a name or a query in lower case without accents, as author filters compare them."""
    if name.isascii():
        return _WORD.findall(name.lower())
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = plain.casefold().replace("ø", "o").replace("ł", "l").replace("đ", "d").replace("æ", "ae").replace("ı", "i")
    return _WORD.findall(plain)


_WORD = re.compile(r"[^\W_]+")


def is_author(query: str, names: Sequence[str]) -> bool:
    """Whether `query` means one of `names`, which are folded."""
    wanted = fold_name(query)
    whole = {word for word in wanted if len(word) > 1}
    for name in names:
        parts = name.split()
        if whole and whole.isdisjoint(parts):
            continue
        if _each_has_its_own(wanted, parts):
            return True
    return False


def _each_has_its_own(wanted: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether each word of the query has a word of the name to itself: S. Smith is not John Smith."""
    left, initials = list(parts), []
    for word in wanted:
        if word in left:
            left.remove(word)
        else:
            initials.append(word)
    for word in sorted(initials, key=len, reverse=True):
        found = next((part for part in left if _same_word(word, part)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _same_word(wanted: str, word: str) -> bool:
    return wanted == word or (min(len(wanted), len(word)) == 1 and wanted[0] == word[0])
