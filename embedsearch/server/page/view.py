"""What the templates show: results, counts, chips, the index in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from embedsearch.records import Paper, SearchResult
from embedsearch.search import Combine, Mode
from embedsearch.server.page.address import DAY_K, Address, next_k
from embedsearch.server.page.cards import Card, Liked, Link, make_cards, make_liked, readable_date
from embedsearch.server.page.day_cards import Day
from embedsearch.server.page.narrowing import Bar, Choice, bars_of, categories_of, chips, years_of
from embedsearch.server.page.visible import visible
from embedsearch.server.public_names import public_name
from embedsearch.store.generation import Generation

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
COMBINES: Final = ((Combine.NEAREST, "any of them"), (Combine.MEAN, "their mean"))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLine:
    """What is searched."""

    n_papers: int
    n_embedded: int
    model: str
    generation: int
    date: str
    has_encoder: bool
    has_day: bool = False
    """Whether there is a day's list, for those who ask."""

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
class Way:
    """One of a few ways to see the same."""

    text: str
    href: str
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A state of the page. `liked` are the papers that the hits are like; `missing` and `error` are sentences."""

    address: Address
    heading: str
    cards: tuple[Card, ...] = ()
    liked: tuple[Liked, ...] = ()
    missing: str = ""
    combines: tuple[Way, ...] = ()
    mode: str = ""
    categories: tuple[Choice, ...] = ()
    years: tuple[Choice, ...] = ()
    bars: tuple[Bar, ...] = ()
    span: tuple[str, str] = ("", "")
    n_counted: int = 0
    chips: tuple[Link, ...] = ()
    more: Link | None = None
    day: Day | None = None
    error: str = ""
    hint: str = ""

    @property
    def title(self) -> str:
        """What the browser's window is called, beside the name of the program."""
        return "Today’s list" if self.address.is_day else (self.address.q or "")[:80]

    @property
    def day_href(self) -> str:
        """Where the day's list is; what is chosen goes along."""
        return Address(is_day=True, like=self.address.like, k=DAY_K).href()

    @property
    def carried(self) -> tuple[str, ...]:
        """The chosen papers that stand nowhere on the page; the others have boxes there."""
        shown = {card.key for card in self.cards}
        return tuple(id for id in self.address.like if id not in shown)

    @property
    def said(self) -> str:
        """What a screen reader says when this is shown."""
        if self.error or self.day is not None:
            return self.error or self.heading
        return f"{self.heading}, {self.mode}" if self.address.asks else ""


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


def view_of(
    result: SearchResult, address: Address, *, limit: int, liked: Sequence[Paper] = (), missing: str = ""
) -> View:
    """A result. `limit` is the greatest k, `liked` the papers that the others are like, `missing` says which are not
    among them."""
    n = len(result.hits)
    chosen = make_liked(liked, address)
    following = next_k(address.k, limit) if n == address.k else None
    facets = result.facets
    bars, span = bars_of(facets, address)
    return View(
        address=address,
        heading=_heading(n, address),
        cards=make_cards(result, address, chosen),
        liked=chosen,
        missing=missing,
        combines=_combines(address) if len(chosen) > 1 else (),
        mode=next(words for mode, _, words in MODES if mode.value == result.mode),
        categories=categories_of(facets, address),
        years=years_of(facets, address),
        bars=bars,
        span=span,
        n_counted=facets.n_counted if facets else 0,
        chips=chips(address),
        more=Link(text=f"Show {following}", href=address.href(k=following)) if following else None,
    )


def left_out(ids: Sequence[str]) -> str:
    """What is said of chosen papers that are not there."""
    if not ids:
        return ""
    those = f"{len(ids)} chosen papers are" if len(ids) > 1 else "One chosen paper is"
    return visible(f"{those} not in this index, and left out: {', '.join(ids)}")


def _combines(address: Address) -> tuple[Way, ...]:
    return tuple(
        Way(text=text, href=address.href(combine=combine), is_on=combine is address.combine)
        for combine, text in COMBINES
    )


def _heading(n: int, address: Address) -> str:
    if not n:
        return "No paper answers this"
    best = "The best" if n == address.k else "All"
    return f"{best} {n} papers" if n > 1 else "One paper"
