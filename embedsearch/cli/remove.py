"""embedsearch remove"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from embedsearch.cli.options import index_option, is_file, is_quiet, message_options

NAMED = 5
"""So many ids are named in a message."""


@click.command(name="remove")
@click.argument("ids", nargs=-1, required=True)
@index_option
@message_options
def command(ids: tuple[str, ...], index: Path) -> None:
    """Take the papers IDS out of an index.

    IDS are ids or addresses of papers, a file with one a line, or - for such lines on standard input. Their vectors
    stay in the files, and answer nothing, until `compact`. `rollback` brings them back.
    """
    from embedsearch.corpus import normal_id
    from embedsearch.errors import PaperNotFound
    from embedsearch.render.tables import counted
    from embedsearch.update import remove

    asked = list(dict.fromkeys(normal_id(id).id for id in _ids(ids)))
    report = remove(asked, index)
    gone = set(report.removed)
    unknown = [id for id in asked if id not in gone]
    if not gone:
        raise PaperNotFound(f"expected papers of {index}, found that it has none of {_named(unknown)}")
    if not is_quiet():
        if unknown:
            click.echo(f"Not in {index}: {_named(unknown)}.", err=True)
        left = f"Searched now: {counted(report.n_papers, 'paper')}, generation {report.generation}."
        click.echo(f"{index}: {counted(len(gone), 'paper')} removed. {left}", err=True)


def _ids(texts: Sequence[str]) -> list[str]:
    """What is named, or stands in a file, a line each; empty lines and those that begin with # count for nothing."""
    if len(texts) != 1 or not (texts[0] == "-" or is_file(texts[0])):
        if "-" in texts:
            raise click.UsageError("Expected - alone: it stands for ids on standard input.")
        return list(texts)
    lines = [line.strip() for line in _read(texts[0]).splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        from embedsearch.errors import QueryError

        where = "standard input" if texts[0] == "-" else texts[0]
        raise QueryError(f"expected an id a line in {where}, found none")
    return found


def _read(name: str) -> str:
    from embedsearch.errors import QueryError

    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise QueryError(f"expected a file of ids in {name}, found: {error.strerror}") from error
    return data.decode("utf-8-sig", "replace")


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
