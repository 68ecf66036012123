"""embedsearch info"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import format_option, index_option, message_options
from embedsearch.cli.terminal import show


@click.command(name="info")
@index_option
@format_option("table", "json")
@message_options
def command(index: Path, format_: str | None) -> None:
    """Say what an index is and how far it is."""
    from embedsearch.render.results import to_json
    from embedsearch.render.stores import info_table
    from embedsearch.store.info import store_info

    info = store_info(index)
    if format_ == "json":
        click.echo(to_json(info.as_dict()))
    else:
        show(info_table(info))
