"""Near-duplicates for people at a terminal, as JSON and as CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from embedsearch.duplicates import DuplicatePair, Duplicates
from embedsearch.duplicates.words import Change
from embedsearch.render import tables
from embedsearch.render.results import arxiv_url
from embedsearch.render.tables import Column, Table, counted, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

CHANGES_SHOWN = 3
WORDS_SHOWN = 6
"""Of a change; JSON and CSV have all of it."""


def to_text(found: Duplicates, format: str, *, groups: bool = False, about: dict[str, Any] | None = None) -> str:
    """As `json`, `to_dict` with `about`, or as `csv`: a line a pair, or with `groups` a line a paper."""
    if format == "json":
        return tables.to_json(to_dict(found) | (about or {}))
    return tables.to_text(group_table(found) if groups else pair_table(found), format)


def to_dict(found: Duplicates) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        "index": found.index,
        "model": found.model,
        "n_papers": found.n_papers,
        "min_cosine": found.min_cosine,
        "mean_cosine": found.mean_cosine,
        "exact": found.is_exact,
        "centered": found.is_centered,
        "n_pairs": found.n_pairs,
        "n_by_title": found.n_by_title,
        "n_groups": len(found.groups),
        "n_papers_in_groups": found.n_in_groups,
        "pairs": [_pair_dict(pair) for pair in found.pairs],
        "groups": [
            {"group": group.number, "ids": list(group.ids), "titles": list(group.titles)} for group in found.groups
        ],
        "notes": list(found.notes),
    }


def _pair_dict(pair: DuplicatePair) -> dict[str, Any]:
    return {
        "rank": pair.rank,
        "cosine": float(f"{pair.cosine:.9g}"),
        "kind": pair.kind.value,
        "why": pair.why,
        "group": pair.group,
        "ids": list(pair.ids),
        "titles": list(pair.titles),
        "published": list(pair.published),
        "urls": [arxiv_url(id) for id in pair.ids],
        "words_in_common": pair.words_in_common,
        "changes": [{"removed": change.removed, "added": change.added} for change in pair.changes],
    }


def pair_table(found: Duplicates) -> Table:
    """A row for each pair, with all that is known; what comes in twos is of the older and the newer paper."""
    return Table(
        tuple(map(Column, _PAIR_COLUMNS)),
        tuple(
            (
                *(pair.rank, float(f"{pair.cosine:.9g}"), pair.kind.value, pair.why, pair.group),
                *(*pair.ids, *pair.titles, *pair.published, *(arxiv_url(id) for id in pair.ids)),
                *(pair.words_in_common, [told(change) for change in pair.changes]),
            )
            for pair in found.pairs
        ),
    )


_PAIR_COLUMNS = (
    "rank", "cosine", "kind", "why", "group", "id_1", "id_2", "title_1", "title_2", "published_1", "published_2",
    "url_1", "url_2", "words_in_common", "changes",
)  # fmt: skip


def group_table(found: Duplicates) -> Table:
    """A row for each paper that has a near-duplicate."""
    columns = tuple(map(Column, ("group", "n_papers", "id", "title", "url")))
    rows = [
        (group.number, len(group.ids), id, title, arxiv_url(id))
        for group in found.groups
        for id, title in zip(group.ids, group.titles, strict=True)
    ]
    return Table(columns, tuple(rows))


def told(change: Change) -> str:
    """A change in one line: - removed + added."""
    parts = (f"- {change.removed}" if change.removed else "", f"+ {change.added}" if change.added else "")
    return " ".join(part for part in parts if part)


def short_changes(changes: Sequence[Change]) -> str:
    """The first few changes, each by its first few words."""
    shown = [told(Change(_few_words(each.removed), _few_words(each.added))) for each in changes[:CHANGES_SHOWN]]
    more = len(changes) - len(shown)
    return " | ".join([*shown, *([f"{more:,} more"] if more else [])])


def _few_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:WORDS_SHOWN]) + (" …" if len(words) > WORDS_SHOWN else "")


def summary(found: Duplicates) -> str:
    """What was found, in one line for people."""
    where = f"{counted(found.n_papers, 'paper')} of {found.index}"
    if not found.n_pairs:
        return f"{where}: no two have a cosine of {found.min_cosine:g} or more."
    shown = f"; the {len(found.pairs):,} closest are shown" if len(found.pairs) < found.n_pairs else ""
    kinds = ", ".join(f"{m:,} {kind}" for kind, m in Counter(pair.kind.value for pair in found.pairs).most_common())
    n, n_groups = found.n_pairs, len(found.groups)
    by_title = f" or of the same title ({found.n_by_title:,} only so)" if found.n_by_title else ""
    return (
        f"{where}: {counted(n, 'pair')} of a cosine of {found.min_cosine:g} or more{by_title},"
        f" {found.n_in_groups:,} papers in {counted(n_groups, 'group')}{shown} ({kinds})."
    )


def pairs_text(found: Duplicates, *, links: bool) -> RenderableType:
    """The pairs for a terminal. With `links` a title is a link, else its address is written out."""
    from rich.text import Text

    grid = _grid()
    for pair in found.pairs:
        lines = [Text(f"{pair.kind.value}  {printable(pair.why)}", style="magenta")]
        for id, title, date in zip(pair.ids, pair.titles, pair.published, strict=True):
            lines.append(_paper(id, title, date, links=links))
        if pair.changes:
            lines.append(Text(printable(short_changes(pair.changes)), style="dim"))
        grid.add_row(str(pair.rank), f"{pair.cosine:.3f}", Text("\n").join(lines).append("\n"))
    return grid if found.pairs else Text("no such pair", style="dim")


def groups_text(found: Duplicates, *, links: bool) -> RenderableType:
    """The groups for a terminal, as `pairs_text`."""
    from rich.text import Text

    grid = _grid()
    for group in found.groups:
        lines = [_paper(id, title, None, links=links) for id, title in zip(group.ids, group.titles, strict=True)]
        grid.add_row(str(group.number), f"{len(group.ids):,} papers", Text("\n").join(lines).append("\n"))
    return grid if found.groups else Text("no such group", style="dim")


def _grid() -> Any:
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    return grid


def _paper(id: str, title: str, date: str | None, *, links: bool) -> Text:
    from rich.text import Text

    url = arxiv_url(id)
    line = Text(printable(title or id), style=f"bold link {url}" if links and url else "bold")
    where = id if links or not url else url
    return line.append(f"  {printable(' · '.join(part for part in (where, date) if part))}", style="not bold dim")
