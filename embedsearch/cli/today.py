"""embedsearch today"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import sending_options
from embedsearch.cli.options import compute_options, format_option, index_option, message_options

if TYPE_CHECKING:
    from embedsearch.today.morning import Source

FORMATS = {".txt": "table", ".md": "markdown", ".html": "html", ".json": "json", ".bib": "bibtex"}


@click.command(name="today")
@click.argument("papers", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option(
    "--like",
    multiple=True,
    required=True,
    metavar="ID|FILE.bib",
    help="A paper that the new ones are to be near to, or a .bib file of them. May be repeated.",
)
@click.option(
    "--since",
    metavar="DAY",
    help="The first day that is fetched: 2025-01-15, yesterday, today, 3d. [default: where the last run stopped, else"
    " yesterday]",
)
@index_option
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="SET",
    help="What is fetched of arXiv, as `fetch` takes it. May be repeated. [default: physics:astro-ph]",
)
@click.option("--fetch/--no-fetch", "fetches", default=True, help="Ask arXiv; without, FILE or what the index has.")
@click.option("-n", "n", type=click.IntRange(1, 1000), default=20, show_default=True, help="Papers in the list.")
@click.option(
    "--min-percentile",
    type=click.FloatRange(0, 100),
    metavar="P",
    help="Only papers that are closer than P % of last year's.",
)
@format_option("table", "markdown", "html", "json", "bibtex")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the list is written: .md, .html, .json, .bib or .txt. Nothing new leaves the file as it is.",
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A line is added here about each run, also where it says nothing.",
)
@click.option("--contact", metavar="MAIL", envvar="EMBEDSEARCH_CONTACT", help="Told to the server, to reach you.")
@click.option("--oai-url", metavar="URL", help="Another server than arXiv's.")
@compute_options
@sending_options
@message_options
def command(
    papers: Path | None,
    like: tuple[str, ...],
    sets: tuple[str, ...],
    fetches: bool,
    contact: str | None,
    oai_url: str | None,
    format_: str | None,
    out: Path | None,
    log_file: Path | None,
    **shared: Any,
) -> None:
    """List the new papers that are nearest to yours.

    Fetches what is new on arXiv, adds it to the index, and says of each paper which of yours it is nearest to, which
    rare terms both share, and how unusual that is. FILE is a file of new papers, as `fetch` or `add` take it, to be
    added in place of what arXiv has; with --no-fetch alone the list is of what the index has.

    Fit for cron: where nothing is new it says nothing. Exit codes: 0 done, 1 it could not be done (one line on stderr),
    2 the command line is wrong. The list is also kept in the folder of the index, as today.json.
    """
    from embedsearch.cli.today_work import list_today, logged, write_list

    if papers is not None and fetches:
        raise click.UsageError("Expected --no-fetch beside FILE: its papers are taken in place of what arXiv has.")
    of_fetch = [name for name, value in {"--set": sets, "--oai-url": oai_url}.items() if value]
    if of_fetch and not fetches:
        raise click.UsageError(f"Expected {of_fetch[0]} without --no-fetch.")
    format_ = _format(format_, out)
    if out is not None and os.path.realpath(out) in map(os.path.realpath, like):
        raise click.UsageError("Expected --out other than --like: the list would take the place of your papers.")
    source = _source(sets, contact, oai_url) if fetches else papers
    with logged(log_file) as told:
        day = list_today(like, source, out=out, **shared)
        if day.papers:
            write_list(day, shared["index"], format_, out)
        told(day)


def _format(asked: str | None, out: Path | None) -> str:
    if asked is not None or out is None:
        return asked or "table"
    if out.suffix.lower() not in FORMATS:
        raise click.UsageError(f"Expected --out named *{', *'.join(FORMATS)}, or --format, found {out.name!r}.")
    return FORMATS[out.suffix.lower()]


def _source(sets: tuple[str, ...], contact: str | None, oai_url: str | None) -> Source:
    from embedsearch.today.morning import DEFAULT_SETS, Source

    return Source(sets=sets or DEFAULT_SETS, base_url=oai_url, contact=contact)
