"""A day's list as one page of HTML: style within, no scripts, nothing fetched, all text escaped."""

from __future__ import annotations

from html import escape

from embedsearch.render.day import about, byline, heading, not_found, title_of, unusual
from embedsearch.render.page_frame import page
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import printable
from embedsearch.today import DayList, DayPaper, Near


def to_html(day: DayList) -> str:
    """The list, a card for each paper, its abstract folded away."""
    cards = "\n".join(_card(day, rank, paper) for rank, paper in enumerate(day.papers, 1))
    missing = f'\n<p class="note">{escape(not_found(day))}</p>' if day.missing else ""
    made = f"Made by embedsearch on {escape(printable(day.made))}."
    return page(
        heading(day),
        _STYLE,
        f'<h1>{escape(heading(day))}</h1>\n<p class="note">{escape(about(day))}</p>\n{cards}{missing}\n'
        f'<p class="note made">{made}</p>',
    )


def _card(day: DayList, rank: int, paper: DayPaper) -> str:
    others = "".join(f"<li>{_near(near)}</li>" for near in paper.nearest[1:])
    also = f"<ul class=near>{others}</ul>" if others else ""
    terms = "".join(f"<b>{escape(printable(term))}</b>" for term in paper.terms)
    return (
        f"<article><div class=rank>{rank}</div><div>"
        f"<h2>{_link(paper)}</h2><p class=note>{escape(byline(paper, paper.id))}</p>"
        f"<p class=yours><span>Nearest of yours</span> {_near(paper.nearest[0])}</p>{also}"
        + (f"<p class=terms><span>Both say</span> {terms}</p>" if terms else "")
        + _measure(day, paper)
        + (
            f"<details><summary>Abstract</summary><p>{escape(printable(paper.abstract))}</p></details>"
            if paper.abstract
            else ""
        )
        + "</div></article>"
    )


def _measure(day: DayList, paper: DayPaper) -> str:
    """How unusual it is."""
    if paper.percentile is None:
        return ""
    said = unusual(day, paper)
    return f"<p class=unusual>{escape(said[0].upper() + said[1:])}</p>"


def _near(near: Near) -> str:
    return f"{_link(near)} <span class=n>{near.cosine:.3f}</span>"


def _link(paper: DayPaper | Near) -> str:
    url = arxiv_url(paper.id)
    title = escape(title_of(paper))
    return f'<a href="{escape(url)}">{title}</a>' if url else title


_STYLE = """
:root { --term: #e4ebf3; }
@media (prefers-color-scheme: dark) { :root { --term: #2b3440; } }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; line-height: 1.3; margin: 0; }
article { display: grid; grid-template-columns: 2rem 1fr; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .8rem 1rem; margin: .7rem 0; overflow-wrap: anywhere; }
.rank { color: var(--dim); font-weight: 600; font-variant-numeric: tabular-nums; }
p { margin: .25rem 0; }
.note, .near, .n, .terms, .unusual, .yours, details { font-size: .88rem; }
.note, .near, .n, .made, .yours > span, .terms > span, summary { color: var(--dim); }
.yours { margin-top: .5rem; }
.n { font-variant-numeric: tabular-nums; }
.near { margin: 0 0 .25rem; padding-left: 1.1rem; }
.near a { color: inherit; }
.terms b { font-weight: 500; background: var(--term); border-radius: 4px; padding: .05rem .4rem; margin-right: .3rem; }
.unusual { font-weight: 600; }
details { margin-top: .35rem; }
summary { cursor: pointer; width: fit-content; }
.made { margin-top: 1.5rem; }
@media (max-width: 34rem) { article { grid-template-columns: 1.5rem 1fr; padding: .7rem; } }
@media print {
  :root { color-scheme: light; --ink: #000; --dim: #444; --line: #bbb; --page: #fff; --card: #fff; --link: #000;
    --term: #eee; }
  body { font-size: 11pt; } main { max-width: none; padding: 0; } article { break-inside: avoid; }
  details:not([open]) { display: none; }
}
"""
