"""embedsearch rollback"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import index_option, is_quiet, message_options


@click.command(name="rollback")
@index_option
@message_options
def command(index: Path) -> None:
    """Go back to the state of an index before the last add, remove, compact or overwriting build.

    Where one of those was begun and not finished, it is forgotten. One state is kept to go back to, and a rollback
    gives up the one that it left: a second one finds nothing.
    """
    from embedsearch.render.tables import counted
    from embedsearch.update import rollback

    event = rollback(index)
    if not is_quiet():
        click.echo(f"{index}: generation {event.number} again, with {counted(event.n_papers, 'paper')}.", err=True)
