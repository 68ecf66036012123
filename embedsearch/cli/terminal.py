"""Printing what render makes; bars and times for those who wait."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from embedsearch.cli.options import is_quiet

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

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


class Display:
    """Progress on stderr, as a context: a bar on a terminal, a plain line now and then elsewhere.

    What each command counts is in the class that it derives from this one.
    """

    def __init__(self, *, quiet: bool | None = None) -> None:
        from rich.console import Console

        self._quiet = is_quiet() if quiet is None else quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar = make_bar(self._console, quiet=self._quiet)
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _end_task(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _plain_line(self, text: str) -> None:
        """Where there is no bar, and none was printed for a while."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """90 seconds, 3 minutes, 1.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
