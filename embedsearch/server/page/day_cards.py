"""What the page shows of a day's list: each paper, and why it is there."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from embedsearch.server.page.cards import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A paper of the library that a new one is near to; without `href` where it is not in the index any more."""

    title: Markup
    href: str
    cosine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a paper is on the list. `unusual` says how near it is beside those of last year."""

    nearest: tuple[Near, ...]
    terms: tuple[str, ...]
    unusual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCard:
    """A paper of the list, and why it is on it."""

    card: Card
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What the page shows of a list."""

    about: str
    made: str
    iso_made: str
    notes: tuple[str, ...]
    papers: tuple[DayCard, ...]
