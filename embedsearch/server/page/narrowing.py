"""What narrows a search down: categories and years with their counts, and the filters that are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embedsearch.records import Facets
from embedsearch.server.page.address import Address, K
from embedsearch.server.page.cards import Link
from embedsearch.server.page.visible import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A filter to choose, with how many of the counted papers it leaves."""

    text: str
    n: int
    href: str
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A year in the drawing of all years; lengths are in units of its width and height, 100 by 24."""

    x: float
    width: float
    height: float
    is_on: bool


def categories_of(facets: Facets | None, address: Address) -> tuple[Choice, ...]:
    """Those that were counted, each to be chosen or taken away."""
    found = facets.categories if facets else ()
    on = {category.casefold() for category in address.categories}
    return tuple(
        Choice(
            text=visible(name),
            n=n,
            href=address.href(categories=() if name.casefold() in on else (name,), k=K),
            is_on=name.casefold() in on,
        )
        for name, n in found
        if name
    )


def years_of(facets: Facets | None, address: Address) -> tuple[Choice, ...]:
    """Those that were counted, newest first."""
    found = sorted(facets.years, reverse=True) if facets else []
    return tuple(
        Choice(
            text=year,
            n=n,
            href=address.href(since="", until="", k=K)
            if year == address.year
            else address.href(since=year, until=year, k=K),
            is_on=year == address.year,
        )
        for year, n in found
        if len(year) == 4 and year.isdigit()
    )


def bars_of(facets: Facets | None, address: Address) -> tuple[tuple[Bar, ...], tuple[str, str]]:
    """The drawing of all years without gaps, with its first and its last; nothing where it would say nothing."""
    counts = {int(year): n for year, n in facets.years if len(year) == 4 and year.isdigit()} if facets else {}
    if len(counts) < 3 or max(counts) - min(counts) > 150:
        return (), ("", "")
    last, most = max(counts), max(counts.values())
    first = min(min(counts), last - 9)  # a few years alone would make towers
    step = 100 / (last - first + 1)
    bars = (
        Bar(
            x=round((year - first) * step, 2),
            width=round(0.78 * step, 2),
            height=round(24 * counts.get(year, 0) / most, 2),
            is_on=str(year) == address.year,
        )
        for year in range(first, last + 1)
    )
    return tuple(bars), (str(first), str(last))


def chips(address: Address) -> tuple[Link, ...]:
    """The filters that are on; each link is the page without it."""
    found = [
        Link(text=visible(name), href=address.href(categories=_without(address.categories, name), k=K))
        for name in address.categories
    ]
    if address.year:
        found.append(Link(text=address.year, href=address.href(since="", until="", k=K)))
    else:
        if address.since:
            found.append(Link(text=f"from {visible(address.since)}", href=address.href(since="", k=K)))
        if address.until:
            found.append(Link(text=f"until {visible(address.until)}", href=address.href(until="", k=K)))
    found += [
        Link(text=visible(name), href=address.href(authors=_without(address.authors, name), k=K))
        for name in address.authors
    ]
    return tuple(found)


def _without(names: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)
