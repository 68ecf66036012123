"""Completions as one page of HTML for a talk: style within, no scripts, nothing fetched, all text escaped."""

from __future__ import annotations

from html import escape

from embedsearch.language.completion_study import Case, CompletionStudy, Measured
from embedsearch.render.completion import NOT_GIVEN, ending
from embedsearch.render.completion_tables import TRUTH, about_line, known_of, measures_line, measures_table
from embedsearch.render.page_frame import page
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import Column, printable, shown

N_COLOURS = 5


def to_html(study: CompletionStudy) -> str:
    """The true abstract and each model's text side by side, a section for each prompt; then all measures."""
    sections = "\n".join(_section(study, case, number) for number, case in enumerate(study.cases, 1))
    n = len(study.cases)
    title = "How language models finish an abstract" if n == 1 else f"How language models finish {n:,} abstracts"
    body = _BODY.format(
        title=escape(title),
        about=escape(about_line(study)),
        legend=escape(f"{NOT_GIVEN}: a number or the name of an object that a reader should look up"),
        body=sections,
        table=_table(study),
        measures=escape(measures_line(study)),
    )
    return page(title, _STYLE, body)


def _section(study: CompletionStudy, case: Case, number: int) -> str:
    url = arxiv_url(case.prompt.id)
    title = _plain(case.title) or f"Prompt {number}"
    linked = f'<a href="{escape(url)}">{title}</a>' if url else title
    id = f"<p class=id>{_plain(case.prompt.id)}</p>" if case.prompt.id else ""
    cards = []
    if case.truth is not None:
        cards.append(
            f"<div class='card truth'><h3>{TRUTH.capitalize()}</h3><p class=text>… {_plain(case.truth.text)}</p>"
            f"<p class=facts>{case.truth.measures.n_words:,} words</p></div>"
        )
    for i, (model, measured) in enumerate(zip(study.models, case.by_model, strict=True)):
        cards.append(_card(model.model, measured, i))
    return (
        f"<section>\n{id}<h2>{linked}</h2>\n<blockquote><span>Prompt</span>{_plain(case.text)}</blockquote>\n"
        f"<div class=cards>{''.join(cards)}</div>\n</section>"
    )


def _card(name: str, measured: Measured, i: int) -> str:
    facts = [ending(measured)]
    if measured.cosine_rest is not None:
        facts.append(f"cosine to the abstract's rest {shown(measured.cosine_rest)}")
    if measured.measures.repetition is not None:
        facts.append(f"{measured.measures.repetition:.0%} repeated")
    for noun, numbers in (("numbers", True), ("names", False)):
        if known := known_of([measured.measures], numbers=numbers):
            facts.append(f"{noun} known: {known}")
    return (
        f"<div class='card c{i % N_COLOURS}'><h3>{_plain(name)}</h3><p class=text>{_highlighted(measured)}</p>"
        f"<p class=facts>{'; '.join(facts)}</p></div>"
    )


def _highlighted(measured: Measured) -> str:
    """The text with what it was not given marked."""
    if not measured.text.strip():
        return "<span class=facts>(nothing)</span>"
    parts, end = ["… "], 0
    for mention in measured.measures.mentions:
        if not mention.is_known:
            parts += [_plain(measured.text[end : mention.start]), f"<mark>{_plain(mention.text)}</mark>"]
            end = mention.end
    return "".join([*parts, _plain(measured.text[end:])])


def _plain(text: str) -> str:
    return escape(printable(text))


def _table(study: CompletionStudy) -> str:
    table = measures_table(study)
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in table.columns)
    rows = "".join("<tr>" + "".join(map(_cell, row, table.columns)) + "</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(cell: object, column: Column) -> str:
    return f"<td>{_plain(shown(cell, column.digits))}</td>"


_BODY = """<header>
<h1>{title}</h1>
<p class="note">{about}</p>
<p class="note"><mark>marked</mark> {legend}</p>
</header>
{body}
<section>
<h2>Measures</h2>
<div class="wide">{table}</div>
<p class="note">{measures}</p>
</section>"""

_STYLE = """
:root { --truth: #6b7480; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #a8528c; --c4: #8a6d00;
  --mark: #ffe08a; --on-mark: #3d2c00; }
@media (prefers-color-scheme: dark) { :root { --truth: #9aa4b1; --c0: #56b4e9; --c1: #f08a3c; --c2: #3ecfa3;
  --c3: #e39ac8; --c4: #e5c84a; --mark: #5c4708; --on-mark: #ffe9ad; } }
body { line-height: 1.5; }
main { max-width: 84rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; line-height: 1.2; }
h2 { font-size: 1.2rem; margin: 0 0 .7rem; line-height: 1.3; }
h3 { font-size: .95rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
section { margin-top: 2.75rem; }
a { color: inherit; }
a:hover { color: var(--link); }
p { margin: .2rem 0; }
.id, .note, .facts { font-size: .85rem; color: var(--dim); }
blockquote { margin: 0 0 1rem; padding: .7rem 1rem; border-left: 4px solid var(--line); color: var(--dim);
  overflow-wrap: anywhere; max-width: 62rem; }
blockquote span { display: block; font-size: .72rem; letter-spacing: .06em; text-transform: uppercase; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-top: 4px solid var(--hue); border-radius: 8px;
  padding: .9rem 1.1rem; display: flex; flex-direction: column; overflow-wrap: anywhere; }
.card h3 { color: var(--hue); }
.card .facts { margin-top: auto; padding-top: .8rem; }
.truth { --hue: var(--truth); } .c0 { --hue: var(--c0); } .c1 { --hue: var(--c1); } .c2 { --hue: var(--c2); }
.c3 { --hue: var(--c3); } .c4 { --hue: var(--c4); }
mark { background: var(--mark); color: var(--on-mark); border-radius: 3px; padding: 0 .15em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--dim); font-weight: 500; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
"""
