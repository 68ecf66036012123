"""The state of the page, as its address holds it: read from there, and written as links to other states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from embedsearch.corpus import normal_id
from embedsearch.errors import OptionError, OverLimit
from embedsearch.search import Combine, Mode, Sort
from embedsearch.server.options import Limits
from embedsearch.server.schemas import MAX_FILTER, MAX_FILTERS, MAX_ID
from embedsearch.store.filters import Filters

K: Final = 10
"""Papers at first."""
DAY_K: Final = 50
"""Of the day's list."""
STEPS: Final = (10, 25, 50, 100, 200, 500, 1000)
MAX_LIKED: Final = 20
"""Papers that one address may carry: it stays short enough for a mail and for any proxy."""
DAY: Final = "/today"
"""Where the day's list stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What is asked for. `q` is None where nobody asked yet.

    `like` are the papers that were chosen, in normal form, each once. Beside a query, or on the day's list (`is_day`),
    they are only carried along; alone they are what is asked for.
    """

    q: str | None = None
    like: tuple[str, ...] = ()
    combine: Combine = Combine.NEAREST
    is_day: bool = False
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
        return self.q is not None or self.asks_alike

    @property
    def asks_alike(self) -> bool:
        """Whether papers like the chosen ones are asked for."""
        return bool(self.like) and self.q is None and not self.is_day

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
        pairs += [("like", id) for id in new.like]
        if new.combine is not Combine.NEAREST:
            pairs.append(("combine", new.combine.value))
        if new.mode is not Mode.HYBRID:
            pairs.append(("mode", new.mode.value))
        pairs += [("category", category) for category in new.categories]
        pairs += [(name, value) for name, value in (("since", new.since), ("until", new.until)) if value]
        pairs += [("author", author) for author in new.authors]
        if new.sort is not Sort.SCORE:
            pairs.append(("sort", new.sort.value))
        if new.k != (DAY_K if new.is_day else K):
            pairs.append(("k", str(new.k)))
        path = DAY if new.is_day else "/"
        return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path


def read_address(given: QueryParams, limits: Limits) -> Address:
    """The state that an address means; parameters that are not ours are left alone, empty ones mean nothing.

    `go=like` is what the button below the hits sends: the chosen papers go before the query then.

    Raises OptionError for a value that is none, OverLimit for more or longer ones than are taken.
    """
    q, like = given.get("q"), _liked(given)
    if q is not None and len(q) > limits.text:
        raise OverLimit(f"expected a query of at most {limits.text:,} characters, found {len(q):,}")
    if like and (given.get("go") == "like" or not (q or "").strip()):
        q = None
    return Address(
        q=q,
        like=like,
        combine=_one_of(Combine, given.get("combine", "")) or Combine.NEAREST,
        mode=_one_of(Mode, given.get("mode", "")) or Mode.HYBRID,
        categories=_words(given, "category"),
        since=_word(given, "since"),
        until=_word(given, "until"),
        authors=_words(given, "author"),
        sort=_one_of(Sort, given.get("sort", "")) or Sort.SCORE,
        k=_number(given.get("k", ""), limits.k),
    )


def read_day_address(given: QueryParams, limits: Limits) -> Address:
    """That of the day's list: which papers are chosen, and how many are shown. Raises what `read_address` raises."""
    return Address(is_day=True, like=_liked(given), k=_number(given.get("k", ""), limits.k, DAY_K))


def next_k(k: int, limit: int) -> int | None:
    """How many papers to show after k; None where k is the most."""
    return min(next((step for step in STEPS if step > k), limit), limit) if k < limit else None


def _liked(given: QueryParams) -> tuple[str, ...]:
    asked = (normal_id(_short("id", id, MAX_ID)).id for id in given.getlist("like"))
    like = tuple(dict.fromkeys(id for id in asked if id))
    if len(like) > MAX_LIKED:
        raise OverLimit(f"expected at most {MAX_LIKED} chosen papers, found {len(like)}")
    return like


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


def _number(value: str, limit: int, usual: int = K) -> int:
    if not value.strip():
        return min(usual, limit)
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) >= 1):
        raise OptionError(f"expected k from 1 to {limit:,}, found {value[:50]!r}")
    if int(value) > limit:
        raise OverLimit(f"expected k from 1 to {limit:,}, found {int(value):,}")
    return int(value)
