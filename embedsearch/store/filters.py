"""Which papers may answer, and how names are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which papers may answer; those that are empty let all through.

    `categories` are patterns (`astro-ph*`), any of which may match any category of a paper, in any case. `since` and
    `until` are days, months or years, compared with a paper's date at the precision of the coarser of the two: a paper
    known as 2023-01 passes `since="2023-01-15"`. `authors` must each match one author: each of its words is a word of
    the name, or its beginning where one of the two is an initial; accents and case are ignored.
    """

    categories: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    authors: tuple[str, ...] = ()

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
    return any(all(any(_same_word(w, part) for part in name.split()) for w in wanted) for name in names)


def _same_word(wanted: str, word: str) -> bool:
    return wanted == word or (min(len(wanted), len(word)) == 1 and wanted[0] == word[0])
