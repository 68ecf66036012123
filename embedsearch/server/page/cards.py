"""Hits as people read papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from markupsafe import Markup

from embedsearch.records import Hit, Paper, SearchResult
from embedsearch.render.bibtex import MONTHS
from embedsearch.render.results import AUTHORS_SHOWN, arxiv_url
from embedsearch.search import Mode
from embedsearch.server.page.address import Address, K
from embedsearch.server.page.prose import Prose, prose
from embedsearch.server.page.visible import visible

EXCERPT: Final = 320
"""Characters of an abstract that are shown before it is unfolded."""
CATEGORIES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Words that lead somewhere."""

    text: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Liked:
    """A chosen paper; `number` is its own on this page, `href` searches for it, `off` is the page without it."""

    number: int
    id: str
    title: Markup
    href: str
    off: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A hit; `excerpt` and `abstract` have the sentence that answers in <mark>. An abstract that the excerpt has all of
    is ""."""

    rank: int
    id: str
    title: Markup
    authors: tuple[str, ...]
    has_more_authors: bool
    date: str
    iso_date: str
    excerpt: Markup
    abstract: Markup
    score: str
    share: float
    """Of the width of the bar, in percent."""
    basis: str
    """What the score is."""
    categories: tuple[Link, ...]
    arxiv: str | None
    pdf: str | None
    alike: str
    bibtex: str
    key: str
    """The id that chooses it."""
    is_chosen: bool
    near: Liked | None
    """The chosen paper that it is nearest to, where there are several."""


def make_liked(papers: Sequence[Paper], address: Address) -> tuple[Liked, ...]:
    """The chosen papers in the order of the address, those that are not there left out."""
    return tuple(
        Liked(
            number=number,
            id=paper.id,
            title=title_of(paper),
            href=address.href(q=paper.id, k=K),
            off=address.href(like=tuple(id for id in address.like if id != paper.id), k=K),
        )
        for number, paper in enumerate(papers, 1)
    )


def make_cards(result: SearchResult, address: Address, liked: Sequence[Liked] = ()) -> tuple[Card, ...]:
    """The hits of a result, with links from `address`; `liked` are the chosen papers that they are like."""
    best = max((hit.score for hit in result.hits), default=0.0)
    near = {one.id: one for one in liked} if len(liked) > 1 else {}
    return tuple(make_card(hit, result.mode, best, address, near.get(hit.like or "")) for hit in result.hits)


def make_card(hit: Hit, mode: str, best: float, address: Address, near: Liked | None = None) -> Card:
    """One hit; `best` is the highest score of its list, `near` the chosen paper that it is nearest to."""
    abstract = prose(hit.paper.abstract)
    excerpt, whole = _excerpt(abstract, hit.sentence), _marked(abstract, hit.sentence)
    url = arxiv_url(hit.id)
    by_words = mode == Mode.KEYWORD.value
    share = hit.score / best if by_words and best > 0 else hit.score
    return Card(
        rank=hit.rank,
        id=visible(hit.id),
        title=title_of(hit.paper),
        authors=tuple(visible(name) for name in hit.authors[:AUTHORS_SHOWN]),
        has_more_authors=len(hit.authors) > AUTHORS_SHOWN,
        date=readable_date(hit.published),
        iso_date=hit.published or "",
        excerpt=excerpt,
        abstract=Markup("") if whole == excerpt else whole,
        score=f"{hit.score:.1f}" if by_words else f"{hit.score:.2f}",
        share=round(100 * min(max(share, 0.0), 1.0), 1),
        basis=_basis(hit, mode),
        categories=_categories(hit.categories, address),
        arxiv=url,
        pdf=url.replace("/abs/", "/pdf/", 1) if url else None,
        alike=Address(like=(hit.id,)).href(),
        bibtex=f"/page/bibtex/{quote(hit.id, safe='/')}",
        key=hit.id,
        is_chosen=hit.id in address.like,
        near=near,
    )


def title_of(paper: Paper) -> Markup:
    """Its title; its id where it has none."""
    return prose(paper.title).html() if paper.title.strip() else Markup.escape(visible(paper.id))


def _basis(hit: Hit, mode: str) -> str:
    cosine = "" if hit.cosine is None else f"cosine {hit.cosine:.3f}"
    if mode == Mode.KEYWORD.value:
        return "score by words (BM25); the bar is relative to the best"
    if mode == Mode.DENSE.value:
        return f"score by meaning: {cosine}"
    return f"score by meaning and words{'; ' + cosine if cosine else ''}"


def _categories(names: Sequence[str], address: Address) -> tuple[Link, ...]:
    return tuple(
        Link(text=visible(name), href=address.href(categories=(name,), k=K)) for name in names[:CATEGORIES_SHOWN]
    )


def _marked(text: Prose, sentence: str | None) -> Markup:
    found = text.find(sentence) if sentence else None
    if found is None:
        return text.html()
    start, end = found
    return Markup("{}<mark>{}</mark>{}").format(text.html(0, start), text.html(start, end), text.html(end))


def _excerpt(text: Prose, sentence: str | None) -> Markup:
    """The sentence that answers and what follows it, or the beginning."""
    found = text.find(sentence) if sentence else None
    if sentence and found is None:  # decoded in another way than here: it is still what answers
        return Markup("<mark>{}</mark>").format(visible(sentence[:EXCERPT]))
    start, end = found or (0, 0)
    cut = text.cut(start + EXCERPT)
    last = min(end, cut)
    dots = "" if cut >= len(text.text.rstrip()) else "\xa0…"
    before = "… " if text.text[:start].strip() else ""
    marked = Markup("<mark>{}</mark>").format(text.html(start, last)) if last > start else ""
    return Markup("{}{}{}{}").format(before, marked, text.html(last, cut), dots)


def readable_date(iso: str | None) -> str:
    """ "2023-01-15" as 15 Jan 2023; as much of it as is known."""
    parts = (iso or "")[:10].split("-")
    words = [parts[0]]
    if len(parts) > 1 and parts[1].isdigit() and 1 <= int(parts[1]) <= 12:
        words.insert(0, MONTHS[int(parts[1]) - 1].capitalize())
        if len(parts) > 2 and parts[2].isdigit():
            words.insert(0, str(int(parts[2])))
    return " ".join(words)
