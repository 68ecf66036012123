"""Printing what render makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def make_console() -> Console:
    """The terminal as rich sees it; a paper's text is not markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def show(*renderables: RenderableType, console: Console | None = None) -> None:
    """Print to stdout. By way of click, since rich ends a process with 1 when the reader of its output has gone."""
    console = console or make_console()
    with console.capture() as captured:
        for renderable in renderables:
            console.print(renderable)
    click.echo(captured.get(), nl=False)
