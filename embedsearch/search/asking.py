"""What a caller asks for, read and checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypedDict, TypeVar

from embedsearch.errors import OptionError, QueryError
from embedsearch.keywords import clean
from embedsearch.scores import Float32
from embedsearch.search.modes import Mode, Sort
from embedsearch.store.filters import Filters

log = logging.getLogger("embedsearch.queries")
"""What is odd about a query. A logger of its own: a server, whose clients could fill its log, shows it only on -v."""

E = TypeVar("E", bound=Enum)


class SearchOptions(TypedDict, total=False):
    """The keywords of `Searcher.search`, for its overloads."""

    k: int
    mode: Mode | str
    filters: Filters | None
    sort: Sort | str
    n_counted: int
    vectors: Mapping[str, Float32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a search is to give, whatever it goes by."""

    k: int
    filters: Filters | None
    sort: Sort
    n_counted: int
    """Facets are counted over so many of the best papers; 0: none."""

    @classmethod
    def read(cls, *, k: int, filters: Filters | None, sort: Sort | str, n_counted: int) -> Ask:
        """Raises OptionError for what is not possible."""
        return cls(
            k=_at_least("k", k, 1),
            filters=filters,
            sort=member(Sort, sort),
            n_counted=_at_least("n_counted", n_counted, 0),
        )

    @property
    def n_wanted(self) -> int:
        """Papers that must be scored."""
        return max(self.k, self.n_counted)


def cleaned(texts: Sequence[str]) -> list[str]:
    """The texts as they are searched for. Raises QueryError where nothing is left of one."""
    queries = [clean(text) for text in texts]
    for number, (text, query) in enumerate(zip(texts, queries, strict=True), 1):
        if not query:
            which = f", the {number}. of {len(texts)}" if len(texts) > 1 else ""
            raise QueryError(f"expected words to search for, found an empty query{which}")
        if len(query) < len(text.strip()):
            log.warning("a query of %s characters was cut or cleaned to %s", f"{len(text):,}", f"{len(query):,}")
    return queries


def member(kind: type[E], value: E | str) -> E:
    """The member of an enum, or that of this value. Raises OptionError with those that there are."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise OptionError(f"expected a {kind.__name__.lower()} of {known}, found {value!r}") from None


def _at_least(name: str, value: int, least: int) -> int:
    if not isinstance(value, int) or value < least:
        raise OptionError(f"expected {name} of at least {least}, found {value!r}")
    return value
