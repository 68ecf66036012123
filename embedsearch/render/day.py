"""A day's list as text: what is said of it and of each paper, and its forms for terminals, mails and programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from embedsearch.corpus.bib import SUFFIXES
from embedsearch.render.markdown import marked
from embedsearch.render.results import AUTHORS_SHOWN, arxiv_url
from embedsearch.render.tables import counted, printable
from embedsearch.today import DayList, DayPaper, Near

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

NAMES_SHOWN = 3
"""Of what was liked, and of what of it is missing."""


def day_dict(day: DayList) -> dict[str, Any]:
    """A list as JSON has it: the fields of DayList and DayPaper, and of each paper its rank and its address."""
    whole: dict[str, Any] = msgspec.to_builtins(day)
    whole["papers"] = [
        {"rank": rank, "url": arxiv_url(paper["id"]), **paper} for rank, paper in enumerate(whole["papers"], 1)
    ]
    return whole


def heading(day: DayList) -> str:
    """What the list is called."""
    return f"New papers near yours, {_days(day)}"


def about(day: DayList) -> str:
    """What was chosen from what, and what percentiles are of."""
    named = _listed([printable(label) for label in day.library])
    liked = f"{counted(day.n_library, 'paper')} of {named}" if any(map(_is_bib, day.library)) else named
    shown = f"the {len(day.papers):,} nearest" if len(day.papers) != 1 else "the nearest"
    year = f" Last year's are {counted(day.n_year, 'other paper')}, of the 365 days before {day.since}."
    year = year if day.papers and day.papers[0].n_as_near is not None else ""
    return f"{counted(day.n_new, 'new paper')}, {shown} to {liked}.{year}"


def _is_bib(label: str) -> bool:
    return label.lower().endswith(SUFFIXES)


def not_found(day: DayList) -> str:
    """What of the library is not in the store; nothing where all is."""
    if not day.missing:
        return ""
    return f"Not in the index, and not compared: {_listed([printable(name) for name in day.missing])}."


def unusual(day: DayList, paper: DayPaper) -> str:
    """How near a paper is beside those of the year before; rounded down, so that only all of them are all."""
    if paper.n_as_near is None:
        return ""
    if paper.n_as_near == 0:
        return f"closer than all of last year's {day.n_year:,} papers"
    tenths = 1000 * (day.n_year - paper.n_as_near) // day.n_year
    return f"closer than {tenths // 10}.{tenths % 10} % of last year's {day.n_year:,} papers"


def shared(paper: DayPaper) -> str:
    """The rare terms that a paper shares with the nearest of the library."""
    return f"both say {', '.join(printable(term) for term in paper.terms)}" if paper.terms else ""


def reasons(day: DayList, paper: DayPaper) -> str:
    """Both of these in one line."""
    return "; ".join(part for part in (shared(paper), unusual(day, paper)) if part)


def byline(paper: DayPaper, *more: str) -> str:
    """Authors, date and categories."""
    names = paper.authors[:AUTHORS_SHOWN]
    authors = ", ".join(names) + (" et al." if len(paper.authors) > AUTHORS_SHOWN else "")
    parts = [authors, paper.published or "", " ".join(paper.categories), *more]
    return printable(" · ".join(part for part in parts if part))


def title_of(paper: DayPaper | Near) -> str:
    """Its title on one line, or its id."""
    return printable(paper.title) or printable(paper.id)


def to_markdown(day: DayList) -> str:
    """The list as Markdown, for a mail or a wiki."""
    lines = [f"# {marked(heading(day))}", "", marked(about(day)), ""]
    for rank, paper in enumerate(day.papers, 1):
        lines.append(f"{rank}. **{_markdown_link(paper)}**  ")
        near = f"nearest of yours: {_markdown_link(paper.nearest[0])} ({paper.cosine:.3f})"
        told = [marked(byline(paper)), near, marked(reasons(day, paper))]
        lines += [f"   {line}  " for line in told if line]
    if day.missing:
        lines += ["", marked(not_found(day))]
    return "\n".join([*lines, ""])


def _markdown_link(paper: DayPaper | Near) -> str:
    url = arxiv_url(paper.id)
    return f"[{marked(title_of(paper))}]({url})" if url else marked(title_of(paper))


def day_text(day: DayList, *, links: bool) -> RenderableType:
    """The list for a terminal. With `links` a title is a link, else its address is written out."""
    from rich.console import Group  # here: what makes JSON does not wait for it
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for rank, paper in enumerate(day.papers, 1):
        grid.add_row(str(rank), f"{paper.cosine:.3f}", _paper_text(day, paper, links=links))
    parts: list[Text | Grid] = [Text(heading(day), style="bold magenta"), Text(about(day), style="dim"), Text(), grid]
    return Group(*parts, *([Text(not_found(day), style="dim")] if day.missing else []))


def _paper_text(day: DayList, paper: DayPaper, *, links: bool) -> Text:
    from rich.text import Text

    url = arxiv_url(paper.id)
    where = url if url and not links else paper.id
    lines = [
        Text(title_of(paper), style=f"bold link {url}" if links and url else "bold"),
        Text(byline(paper, where), style="dim"),
        Text("nearest of yours: ").append(title_of(paper.nearest[0]), style="italic"),
    ]
    if told := reasons(day, paper):
        lines.append(Text(told))
    return Text("\n").join(lines).append("\n")


def _days(day: DayList) -> str:
    return day.until if day.since == day.until else f"{day.since} to {day.until}"


def _listed(names: Sequence[str]) -> str:
    """a, b, c and 4 more"""
    left = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {left:,} more" if left > 0 else "")
