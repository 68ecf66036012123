"""The state of the page, as its address holds it: read from there, and written as links to other states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from embedsearch.errors import OptionError, OverLimit
from embedsearch.search import Mode, Sort
from embedsearch.server.options import Limits
from embedsearch.server.schemas import MAX_FILTER, MAX_FILTERS, MAX_ID
from embedsearch.store.filters import Filters

K: Final = 10
"""Papers at first."""
STEPS: Final = (10, 25, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What is asked for. `q` is None where nobody asked yet; a query goes before `like`."""

    q: str | None = None
    like: str | None = None
    mode: Mode = Mode.HYBRID
    categories: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    authors: tuple[str, ...] = ()
    sort: Sort = Sort.SCORE
    k: int = K

    @property
    def asks(self) -> bool:
        """Whether there is something to search for."""
        return self.q is not None or self.like is not None

    @property
    def filters(self) -> Filters | None:
        """Raises OptionError for dates and authors that are none."""
        found = Filters(
            categories=self.categories, since=self.since or None, until=self.until or None, authors=self.authors
        )
        return found or None

    @property
    def year(self) -> str:
        """The one year that the dates mean, or ""."""
        return self.since if self.since == self.until and len(self.since) == 4 else ""

    def href(self, **changes: Any) -> str:
        """The address of this state with some fields changed. What is as usual is left out."""
        new = replace(self, **changes)
        pairs: list[tuple[str, str]] = []
        if new.q is not None:
            pairs.append(("q", new.q))
        elif new.like is not None:
            pairs.append(("like", new.like))
        if new.mode is not Mode.HYBRID:
            pairs.append(("mode", new.mode.value))
        pairs += [("category", category) for category in new.categories]
        pairs += [(name, value) for name, value in (("since", new.since), ("until", new.until)) if value]
        pairs += [("author", author) for author in new.authors]
        if new.sort is not Sort.SCORE:
            pairs.append(("sort", new.sort.value))
        if new.k != K:
            pairs.append(("k", str(new.k)))
        return f"/?{urlencode(pairs, errors='replace')}" if pairs else "/"


def read_address(given: QueryParams, limits: Limits) -> Address:
    """The state that an address means; parameters that are not ours are left alone, empty ones mean nothing.

    Raises OptionError for a value that is none, OverLimit for more or longer ones than are taken.
    """
    q, like = given.get("q"), _short("id", given.get("like", "").strip(), MAX_ID)
    if q is not None and len(q) > limits.text:
        raise OverLimit(f"expected a query of at most {limits.text:,} characters, found {len(q):,}")
    if like and not (q or "").strip():
        q = None
    return Address(
        q=q,
        like=like if q is None and like else None,
        mode=_one_of(Mode, given.get("mode", "")) or Mode.HYBRID,
        categories=_words(given, "category"),
        since=_word(given, "since"),
        until=_word(given, "until"),
        authors=_words(given, "author"),
        sort=_one_of(Sort, given.get("sort", "")) or Sort.SCORE,
        k=_number(given.get("k", ""), limits.k),
    )


def next_k(k: int, limit: int) -> int | None:
    """How many papers to show after k; None where k is the most."""
    return min(next((step for step in STEPS if step > k), limit), limit) if k < limit else None


def _word(given: QueryParams, name: str) -> str:
    return _short(name, given.get(name, "").strip())


def _words(given: QueryParams, name: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word for value in given.getlist(name) if (word := value.strip())))
    if len(words) > MAX_FILTERS:
        raise OverLimit(f"expected at most {MAX_FILTERS} values of {name}, found {len(words)}")
    return tuple(_short(name, word) for word in words)


def _short(name: str, word: str, most: int = MAX_FILTER) -> str:
    if len(word) > most:
        raise OverLimit(f"expected {name} of at most {most:,} characters, found {len(word):,}")
    return word


def _one_of(kind: Any, value: str) -> Any:
    if not value:
        return None
    known: Sequence[str] = [member.value for member in kind]
    if value not in known:
        raise OptionError(f"expected a {kind.__name__.lower()} of {', '.join(known)}, found {value[:50]!r}")
    return kind(value)


def _number(value: str, limit: int) -> int:
    if not value.strip():
        return min(K, limit)
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) >= 1):
        raise OptionError(f"expected k from 1 to {limit:,}, found {value[:50]!r}")
    if int(value) > limit:
        raise OverLimit(f"expected k from 1 to {limit:,}, found {int(value):,}")
    return int(value)
