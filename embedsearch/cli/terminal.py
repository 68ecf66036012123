"""Printing what render makes; bars and times for those who wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

PLAIN_LINE_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal for a bar."""


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


def make_bar(console: Console, *, quiet: bool) -> Progress:
    """A bar whose tasks have a field `rate`; it shows itself on a terminal alone."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def duration(seconds: float) -> str:
    """90 seconds, 3 minutes, 1.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
