"""embedsearch fetch"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import is_quiet, message_options

DEFAULT_OUT = "papers.jsonl"


@click.command(name="fetch")
@click.argument("sets", nargs=-1, required=True, metavar="SET...")
@click.option(
    "--since",
    metavar="DATE",
    help="Records changed from this day, month or year on; also yesterday, or 7d. [default: of a new file, the last 30"
    " days; else where it stopped]",
)
@click.option("--until", metavar="DATE", help="Records changed up to this day, month or year. [default: today]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    metavar="FILE",
    help="File to write, or to bring up to date: .jsonl or .jsonl.gz.",
)
@click.option(
    "--prefix",
    type=click.Choice(["arXivRaw", "arXiv"]),
    default="arXivRaw",
    show_default=True,
    help="Format of the records: arXivRaw has the dates of all versions, arXiv the authors in parts.",
)
@click.option("--base-url", metavar="URL", help="The OAI server. [default: arXiv's]")
@click.option(
    "--contact",
    envvar="EMBEDSEARCH_CONTACT",
    metavar="ADDRESS",
    help="Your mail address, sent to the server so that its keepers can reach you.",
)
@message_options
def command(
    sets: tuple[str, ...],
    since: str | None,
    until: str | None,
    out: Path,
    prefix: str,
    base_url: str | None,
    contact: str | None,
) -> None:
    """Take the records of papers from arXiv, by OAI-PMH.

    SET is physics:astro-ph, physics:astro-ph:GA and the like. The file has the field names of arXiv's snapshot, one
    record a line, in the order in which they were changed; deleted papers are marked. The same command goes on after an
    interruption, and brings a file that is complete up to date. One request is sent in 3 seconds.
    """
    from embedsearch.cli.fetch_progress import FetchDisplay, summary
    from embedsearch.fetch import ARXIV, fetch

    url = base_url or ARXIV
    with FetchDisplay(sets, out, url) as display:
        report = fetch(
            sets, out, since=since, until=until, prefix=prefix, base_url=url, contact=contact, progress=display
        )
    if not is_quiet():
        click.echo(summary(report), err=True)
