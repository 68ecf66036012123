"""The progress of texts through language models, on stderr: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from embedsearch.cli.options import is_quiet
from embedsearch.cli.terminal import PLAIN_LINE_EVERY, make_bar

if TYPE_CHECKING:
    from rich.progress import TaskID


class TokenDisplay:
    """As a context; `begin` names a model, and gives what is called with the tokens that are done and all there are."""

    def __init__(self, n_papers: int) -> None:
        from rich.console import Console

        self._n_papers = n_papers
        self._quiet = is_quiet()
        self._console = Console(stderr=True, highlight=False)
        self._bar = make_bar(self._console, quiet=self._quiet)
        self._task: TaskID | None = None
        self._name = ""
        self._began = self._last_line = 0.0

    def __enter__(self) -> TokenDisplay:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, name: str) -> Callable[[int, int], None]:
        """A model's turn."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._name = name
        return self._show

    def _show(self, done: int, total: int) -> None:
        if self._quiet:
            return
        now = time.monotonic()
        if self._task is None:  # the first batch waits for nothing any more: the model is there
            self._task = self._bar.add_task(self._name, total=total, rate="")
            self._first, self._began, self._last_line = done, now, now
            self._print(f"{self._name}: {self._n_papers:,} papers, {total:,} tokens.")
        seconds = now - self._began
        rate = f"{(done - self._first) / seconds:,.0f} tokens/s" if seconds > 0.5 else ""
        self._bar.update(self._task, completed=done, total=total, rate=rate)
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            self._print(f"{self._name}: {done / total:.0%}  {rate}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)
