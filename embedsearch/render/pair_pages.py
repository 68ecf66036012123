"""Divergent pairs to show to others: Markdown, a page of HTML that needs nothing else, and the terminal's text."""

from __future__ import annotations

from html import escape

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from embedsearch.pairs.divergent import DivergentPairs
from embedsearch.records import PairRecord
from embedsearch.render.markdown import marked
from embedsearch.render.page_frame import page
from embedsearch.render.pairs import (
    about,
    chance,
    heading,
    ordinal,
    share,
    shown_divergence,
    shown_titles,
    sides,
    summary,
    why,
)
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import shown

Lists = list[tuple[str, tuple[PairRecord, ...]]]


def lists_of(result: DivergentPairs) -> Lists:
    """Both directions."""
    return [("first", result.first), ("second", result.second)]


def pairs_text(result: DivergentPairs, *, links: bool) -> Group:
    """Both lists for a terminal. With `links` a title is a link, else addresses are written out."""
    parts: list[Text | Grid] = [Text(about(result), style="dim"), Text()]
    for closer, records in lists_of(result):
        parts.append(Text(heading(result, closer), style="bold magenta"))
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(justify="right", style="bold", no_wrap=True)
        grid.add_column(no_wrap=True, style="cyan")
        grid.add_column(overflow="fold")
        for record in records:
            grid.add_row(str(record.rank), shown_divergence(result, record), _pair_text(result, record, links=links))
        if records:
            parts.append(grid)
        parts += [Text(line, style="dim") for line in (summary(result, closer),) if line] + [Text()]
    if result.halves:
        parts += [Text(_halves_line(result.halves), style="dim"), Text()]
    return Group(*parts[:-1])


def _pair_text(result: DivergentPairs, record: PairRecord, *, links: bool) -> Text:
    lines = []
    for id, title in zip(record.ids, shown_titles(record), strict=True):
        url = arxiv_url(id)
        line = Text(title, style=f"bold link {url}" if links and url else "bold")
        lines.append(line if links and url else line.append(f"  {url or id}", style="not bold dim"))
    lines += [Text(side) for side in sides(result, record)]
    if record.terms:
        lines.append(Text(f"both say {why(record)}"))
    if told := chance(record):
        lines.append(Text(told, style="dim"))
    return Text("\n").join(lines).append("\n")


def _halves_line(halves: DivergentPairs) -> str:
    one_sentence = f"; {halves.n_left_out:,} with one sentence left out" if halves.n_left_out else ""
    worst = [f"{records[0].divergence:.3f}" for _, records in lists_of(halves) if records]
    return (
        f"One model on the odd against the even sentences of {halves.n_papers:,} abstracts{one_sentence}: Spearman"
        f" correlation {shown(halves.spearman)}, the most divergent pairs {' and '.join(worst) or 'none'}."
    )


def to_markdown(result: DivergentPairs) -> str:
    """Both lists as a page of Markdown."""
    lines = ["# Where two models disagree", "", marked(about(result)), ""]
    for closer, records in lists_of(result):
        lines += [f"## {marked(heading(result, closer))}", ""]
        for record in records:
            titles = [
                f"[{marked(title)}]({url})" if (url := arxiv_url(id)) else marked(title)
                for id, title in zip(record.ids, shown_titles(record), strict=True)
            ]
            lines.append(f"{record.rank}. {titles[0]}<br>{titles[1]}  ")
            told = [*sides(result, record), f"both say {why(record)}" if record.terms else "", chance(record)]
            lines += [f"   {marked(line)}  " for line in told if line]
        lines += ["", marked(summary(result, closer)), ""]
    if result.halves:
        lines += [marked(_halves_line(result.halves)), ""]
    return "\n".join(lines)


def to_html(result: DivergentPairs) -> str:
    """Both lists as one page of HTML: style within, no scripts, nothing fetched, all text escaped."""
    body = []
    for closer, records in lists_of(result):
        cards = "\n".join(_card(result, record) for record in records)
        body.append(
            f"<section>\n<h2>{escape(heading(result, closer))}</h2>\n{cards}\n"
            f'<p class="note">{escape(summary(result, closer))}</p>\n</section>'
        )
    if result.halves:
        body.append(f'<p class="note">{escape(_halves_line(result.halves))}</p>')
    title = f"Where {result.labels[0]} and {result.labels[1]} disagree"
    head = f'<h1>{escape(title)}</h1>\n<p class="note">{escape(about(result))}</p>'
    return page(title, _STYLE, "\n".join([head, *body]))


def _card(result: DivergentPairs, record: PairRecord) -> str:
    titles = "".join(
        f"<p class=title>{_link(id, title)}</p>" for id, title in zip(record.ids, shown_titles(record), strict=True)
    )
    rows = "".join(_bar(result, record, space) for space in (0, 1))
    terms = f"<p class=why>both say {escape(why(record))}</p>" if record.terms else ""
    told = f"<p class=note>{escape(chance(record))}</p>" if chance(record) else ""
    return (
        f"<article><div class=rank>{record.rank}</div><div>{titles}<table><tr class=head><th class=label></th>"
        f"<th class=n>cosine</th><th class=bar>pairs below it</th><th class=n></th><th></th></tr>{rows}</table>"
        f"{terms}{told}</div></article>"
    )


def _bar(result: DivergentPairs, record: PairRecord, space: int) -> str:
    """What one space makes of a pair, as a row of a card's table."""
    percentile = record.percentiles[space]
    wide = f"width:{max(percentile, 0.6):.2f}%"  # so that there is something to see
    return (
        f"<tr><th>{escape(result.labels[space])}</th><td>{record.cosines[space]:.3f}</td>"
        f'<td><div class=track><div class="fill s{space}" style="{wide}"></div></div></td>'
        f"<td>{share(percentile)}</td><td>{ordinal(min(record.neighbour_ranks[space]))} neighbour</td></tr>"
    )


def _link(id: str, title: str) -> str:
    url = arxiv_url(id)
    return f'<a href="{escape(url)}">{escape(title)}</a>' if url else escape(title)


_STYLE = """
:root { --first: #56b4e9; --second: #d55e00; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
article { display: grid; grid-template-columns: 2rem 1fr; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .8rem 1rem; margin: .6rem 0; }
.rank { color: var(--dim); font-weight: 600; }
p { margin: .2rem 0; }
.title { font-weight: 600; }
.note, .why { font-size: .85rem; color: var(--dim); }
.why { color: var(--ink); }
table { width: 100%; table-layout: fixed; border-collapse: collapse; margin: .5rem 0; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; padding: .1rem .6rem .1rem 0; overflow-wrap: anywhere; }
td { padding: .1rem .6rem .1rem 0; white-space: nowrap; }
.head th { color: var(--dim); font-size: .78rem; font-weight: 400; }
.label { width: 24%; } .n { width: 5.2rem; } .bar { width: 32%; }
.track { background: var(--line); height: .55rem; border-radius: 3px; overflow: hidden; }
.fill { height: 100%; }
.s0 { background: var(--first); }
.s1 { background: var(--second); }
@media (max-width: 34rem) {
  .bar { width: 18%; } .n { width: 3.9rem; } article { grid-template-columns: 1.4rem 1fr; padding: .7rem; }
}
"""
