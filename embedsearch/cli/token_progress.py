"""The progress of texts through language models, on stderr: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from embedsearch.cli.terminal import Display


class TokenDisplay(Display):
    """As a context; `begin` names a model, and gives what is called with the tokens that are done and all there are."""

    def __init__(self, n_papers: int) -> None:
        super().__init__()
        self._n_papers = n_papers
        self._name = ""
        self._began = 0.0

    def begin(self, name: str) -> Callable[[int, int], None]:
        """A model's turn."""
        self._end_task()
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
        self._plain_line(f"{self._name}: {done / total:.0%}  {rate}")
