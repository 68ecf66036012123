"""Hits for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from embedsearch.records import Hit, SearchResult
from embedsearch.render.results import AUTHORS_SHOWN, arxiv_url


def printable(text: str) -> str:
    """`text` without control characters: they could command a terminal, or reverse what is read."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def hits_table(
    result: SearchResult, *, links: bool, abstracts: bool = False, likes: Mapping[str, str] | None = None
) -> Group:
    """Hits for a terminal. With `links` a title is a link, else its address is written out.

    `likes` says what the papers are called that hits were to be like, by id.
    """
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for hit in result.hits:
        grid.add_row(str(hit.rank), f"{hit.score:.3f}", _hit_text(hit, links, abstracts, likes or {}))
    heading = Text(printable(result.query), style="bold magenta") if result.query else Text()
    if not result.hits:
        return Group(heading, Padding(Text("no paper found", style="dim"), (0, 0, 1, 2)))
    return Group(heading, grid)


def _hit_text(hit: Hit, links: bool, abstracts: bool, likes: Mapping[str, str]) -> Text:
    url = arxiv_url(hit.id)
    title = Text(printable(hit.title or hit.id), style=f"bold link {url}" if links and url else "bold")
    where = url if url and not links else hit.id
    about = [_some(hit.authors), (hit.published or "")[:4], " ".join(hit.categories), where]
    lines = [title, Text(printable(" · ".join(part for part in about if part)), style="dim")]
    if hit.like is not None:
        lines.append(Text(printable(f"like {likes.get(hit.like, hit.like)}"), style="italic"))
    shown = hit.abstract if abstracts else hit.sentence
    if shown:
        lines.append(Text(printable(shown)))
    return Text("\n").join(lines).append("\n")


def _some(authors: Sequence[str]) -> str:
    return ", ".join(authors[:AUTHORS_SHOWN]) + (" et al." if len(authors) > AUTHORS_SHOWN else "")
