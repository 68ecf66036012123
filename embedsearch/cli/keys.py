"""embedsearch keys"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from embedsearch.cli.options import format_option, message_options
from embedsearch.cli.terminal import show

F = TypeVar("F", bound=Callable[..., Any])


def default_file() -> Path:
    """Where keys are, unless --keys says otherwise: in the user's folder of settings."""
    return Path(click.get_app_dir("embedsearch")) / "keys.json"


def keys_option(function: F) -> F:
    """--keys FILE; None where it is not given"""
    return click.option(
        "--keys",
        "keys_file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="EMBEDSEARCH_KEYS",
        metavar="FILE",
        help=f"File of keys. [default: {default_file()}]",
    )(function)


@click.group(name="keys")
def command() -> None:
    """Say who may ask a server.

    A server reads its file of keys again when it changes: keys can come and go while it runs. What is kept of a key
    is a hash.
    """


@command.command(name="add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["read", "admin"]),
    default="read",
    show_default=True,
    help="read: search; admin: also have the index read again.",
)
@keys_option
@message_options
def add(name: str, role: str, keys_file: Path | None) -> None:
    """Make a key for NAME, and print it: it is shown this once."""
    from embedsearch.server.keys import Role, add_key

    file = keys_file or default_file()
    token = add_key(file, name, role=Role(role))
    click.echo(f"Added {name} ({role}) to {file}. Its key, which is kept nowhere:", err=True)
    click.echo(token)


@command.command(name="list")
@keys_option
@format_option("table", "json")
@message_options
def list_(keys_file: Path | None, format_: str | None) -> None:
    """List the keys that there are, without what would let one in."""
    from embedsearch.render.results import to_json
    from embedsearch.server.keys import read_keys

    file = keys_file or default_file()
    found = read_keys(file) if keys_file or file.exists() else ()  # that nobody has made a key yet is no error
    keys = [{"name": key.name, "role": key.role.value, "created": key.created} for key in found]
    if format_ == "json":
        click.echo(to_json(keys))
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for key in keys:
        table.add_row(*key.values())
    show(table)


@command.command(name="remove")
@click.argument("name")
@keys_option
@message_options
def remove(name: str, keys_file: Path | None) -> None:
    """Take the key of NAME away: from now on it opens nothing."""
    from embedsearch.server.keys import remove_key

    file = keys_file or default_file()
    remove_key(file, name)
    click.echo(f"Removed {name} from {file}.", err=True)
