"""The day's list: read from beside the index, and shown with why each paper is on it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from markupsafe import Markup

from embedsearch.errors import EmbedsearchError
from embedsearch.records import Hit
from embedsearch.render.day import about, heading, not_found, unusual
from embedsearch.search import Mode
from embedsearch.server.keys import Keys
from embedsearch.server.options import LOOPBACK, ServeOptions
from embedsearch.server.page.address import Address, K, next_k
from embedsearch.server.page.cards import Card, Link, make_card, title_of
from embedsearch.server.page.day_cards import Day, DayCard, Near, Why
from embedsearch.server.page.view import View
from embedsearch.server.page.visible import visible
from embedsearch.store.catalogue import StoredPaper
from embedsearch.today import DayList, DayPaper, day_path, read_day

log = logging.getLogger("embedsearch")

NEAREST_SHOWN: Final = 2
TERMS_SHOWN: Final = 6

Papers = Mapping[str, StoredPaper | None]
"""Of the index by id; None for what is not in it any more."""


class DayFile:
    """The list beside the index at `folder`, read again when its file has changed. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, int, int] | None, DayList | None] = (None, None)

    def read(self) -> DayList | None:
        """The list as it is now; None where there is none, or a file that is none, which the log says once."""
        with self._lock:
            found = self._identity()
            if found != self._known[0]:
                self._known = (found, self._read() if found else None)
            return self._known[1]

    def _read(self) -> DayList | None:
        try:
            return read_day(self._folder)
        except EmbedsearchError as error:
            log.warning("the page shows no day's list: %s", error)
            return None

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(day_path(self._folder))
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns


def is_shown(options: ServeOptions, keys: Keys) -> bool:
    """Whether who may read the index may see the list, which tells what somebody likes.

    Unless the server is told, they may where each of them was given a key, or where they are on this machine: not where
    anybody reads without a key, or a name that others know leads here.
    """
    if options.show_day is not None:
        return options.show_day
    if keys.required:
        return not options.public_read
    return options.host in LOOPBACK and not options.allowed_hosts


def ids_of(day: DayList, k: int) -> list[str]:
    """The papers that the first k of a list need: they themselves, and those that they are near to; each once."""
    shown = day.papers[:k]
    near = (one.id for paper in shown for one in paper.nearest[:NEAREST_SHOWN])
    return list(dict.fromkeys([*(paper.id for paper in shown), *near]))


def day_view(day: DayList, papers: Papers, address: Address, *, limit: int) -> View:
    """The first papers of a list. `papers` has those of `ids_of`, `limit` is the greatest k."""
    shown = day.papers[: address.k]
    there = [(paper, stored) for paper in shown if (stored := papers.get(paper.id)) is not None]
    cards = tuple(
        DayCard(card=_card(rank, paper, stored, address), why=_why(day, paper, papers, address))
        for rank, (paper, stored) in enumerate(there, 1)
    )
    following = next_k(address.k, limit) if len(day.papers) > address.k else None
    return View(
        address=address,
        heading=visible(heading(day)),
        cards=tuple(one.card for one in cards),
        day=Day(
            about=visible(about(day)),
            made=visible(day.made.replace("T", ", ").removesuffix("Z").removesuffix("+00:00")[:17]),
            iso_made=visible(day.made),
            notes=tuple(visible(note) for note in (not_found(day), _gone(len(shown) - len(there))) if note),
            papers=cards,
        ),
        more=Link(text=f"Show {following}", href=address.href(k=following)) if following else None,
    )


def _gone(n: int) -> str:
    if not n:
        return ""
    those = f"{n} papers of the list are" if n > 1 else "One paper of the list is"
    return f"{those} not in this index any more."


def _card(rank: int, paper: DayPaper, stored: StoredPaper, address: Address) -> Card:
    hit = Hit(
        rank=rank,
        id=stored.paper.id,
        score=paper.cosine,
        cosine=paper.cosine,
        title=stored.title,
        abstract=stored.abstract,
        authors=stored.authors,
        categories=stored.paper.categories,
        published=stored.paper.published,
        sentence=None,
        paper=stored.paper,
    )
    card = make_card(hit, Mode.DENSE.value, 1.0, address)
    # A category would narrow a search down: here is none.
    plain = tuple(replace(category, href="") for category in card.categories)
    return replace(card, categories=plain, basis=f"cosine with the nearest of yours: {paper.cosine:.3f}")


def _why(day: DayList, paper: DayPaper, papers: Papers, address: Address) -> Why:
    nearest = []
    for near in paper.nearest[:NEAREST_SHOWN]:
        stored = papers.get(near.id)
        title = title_of(stored.paper) if stored else Markup.escape(visible(near.title or near.id))
        href = address.href(is_day=False, q=near.id, k=K) if stored else ""
        nearest.append(Near(title=title, href=href, cosine=f"{near.cosine:.2f}"))
    terms: Sequence[str] = paper.terms[:TERMS_SHOWN]
    return Why(
        nearest=tuple(nearest),
        terms=tuple(visible(term) for term in terms),
        unusual=unusual(day, paper) if day.n_year > 0 else "",
    )
