"""embedsearch log"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import format_option, index_option, is_quiet, message_options


@click.command(name="log")
@index_option
@format_option("table", "json", "csv")
@message_options
def command(index: Path, format_: str | None) -> None:
    """Say what was done to an index: each state of it, when, by which version, and what changed; the last one last."""
    from embedsearch.cli.terminal import make_console
    from embedsearch.render.history import history_table
    from embedsearch.render.tables import to_text
    from embedsearch.store.history import history
    from embedsearch.store.manifest import read_manifest

    console, form = make_console(), format_ or "table"
    width = console.width if console.is_terminal else None
    click.echo(to_text(history_table(history(index), brief=form == "table"), form, width=width), nl=False)
    pending = read_manifest(index, check_files=False).pending
    if pending is not None and not is_quiet():
        what = pending.change.what
        click.echo(
            f"Generation {pending.number} ({what}) was begun and is not finished: see `embedsearch info`.", err=True
        )
