"""What the templates show: results, counts, chips, the index in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from embedsearch.records import Facets, Paper, SearchResult
from embedsearch.search import Mode
from embedsearch.server.page.address import Address, K, next_k
from embedsearch.server.page.cards import Card, Link, make_cards, readable_date, title_of
from embedsearch.server.page.visible import visible
from embedsearch.server.public_names import public_name
from embedsearch.store.manifest import Generation

COUNTED: Final = 200
"""Categories and years are counted among so many of the best papers."""
EXAMPLES: Final = (
    "why do some galaxies stop forming stars?",
    "magnetized plasma turbulence",
    "water in the atmospheres of small exoplanets",
)
MODES: Final = (
    (Mode.HYBRID, "Both", "by meaning and words"),
    (Mode.DENSE, "Meaning", "by meaning"),
    (Mode.KEYWORD, "Words", "by words"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLine:
    """What is searched."""

    n_papers: int
    n_embedded: int
    model: str
    generation: int
    date: str
    has_encoder: bool

    @property
    def percent(self) -> int:
        """Of the papers that can be found by meaning; 100 only when all can."""
        return int(100 * self.n_embedded / self.n_papers) if self.n_papers else 100

    @property
    def text(self) -> str:
        """All of it in a line."""
        parts = (f"{self.n_papers:,} papers", self.model, f"generation {self.generation}", self.date)
        return " · ".join(part for part in parts if part)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A state of the page. `about` is the title of the paper that others are like; `error` is a sentence."""

    address: Address
    heading: str
    cards: tuple[Card, ...] = ()
    about: Markup | None = None
    mode: str = ""
    categories: tuple[Choice, ...] = ()
    years: tuple[Choice, ...] = ()
    bars: tuple[Bar, ...] = ()
    span: tuple[str, str] = ("", "")
    n_counted: int = 0
    chips: tuple[Link, ...] = ()
    more: Link | None = None
    error: str = ""
    hint: str = ""

    @property
    def said(self) -> str:
        """What a screen reader says when this is shown."""
        return self.error or (f"{self.heading}, {self.mode}" if self.address.asks else "")


def index_line(generation: Generation, *, has_encoder: bool) -> IndexLine:
    """The index in numbers; a model that is a folder goes by its name, one that is not known by none."""
    return IndexLine(
        n_papers=generation.n_papers,
        n_embedded=generation.n_embedded,
        model=public_name(str(generation.model.get("name", ""))),
        generation=generation.number,
        date=readable_date(generation.updated),
        has_encoder=has_encoder,
    )


def view_of(result: SearchResult, address: Address, *, limit: int, liked: Paper | None = None) -> View:
    """A result. `limit` is the greatest k, `liked` the paper that the others are like."""
    n = len(result.hits)
    following = next_k(address.k, limit) if n == address.k else None
    facets = result.facets
    bars, span = _bars(facets, address)
    return View(
        address=address,
        heading=_heading(n, address),
        cards=make_cards(result, address),
        about=title_of(liked) if liked else None,
        mode=next(words for mode, _, words in MODES if mode.value == result.mode),
        categories=_categories(facets, address),
        years=_years(facets, address),
        bars=bars,
        span=span,
        n_counted=facets.n_counted if facets else 0,
        chips=chips(address),
        more=Link(text=f"Show {following}", href=address.href(k=following)) if following else None,
    )


def _heading(n: int, address: Address) -> str:
    if not n:
        return "No paper answers this"
    best = "The best" if n == address.k else "All"
    return f"{best} {n} papers" if n > 1 else "One paper"


def _categories(facets: Facets | None, address: Address) -> tuple[Choice, ...]:
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


def _years(facets: Facets | None, address: Address) -> tuple[Choice, ...]:
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


def _bars(facets: Facets | None, address: Address) -> tuple[tuple[Bar, ...], tuple[str, str]]:
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
