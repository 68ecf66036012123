"""The progress of a training, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from embedsearch.cli.options import is_quiet
from embedsearch.cli.terminal import PLAIN_LINE_EVERY, duration, make_bar

if TYPE_CHECKING:
    from rich.progress import TaskID

    from embedsearch.training.watching import TrainingStep

FORECAST_AFTER = 20.0
"""Seconds of training, before it is said how long it will take."""


class TrainingDisplay:
    """As a context; the object is the callback that a training takes."""

    def __init__(self, *, quiet: bool | None = None) -> None:
        from rich.console import Console

        self._quiet = is_quiet() if quiet is None else quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar = make_bar(self._console, quiet=self._quiet)
        self._task: TaskID | None = None
        self._stage = ""
        self._last_line = 0.0
        self._first = 0
        self._has_forecast = False

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, step: TrainingStep) -> None:
        """Show how far it is."""
        if self._quiet:
            return
        if step.stage != self._stage:
            self._begin(step)
        rate = _rate(step)
        if self._task is not None:
            self._bar.update(self._task, completed=step.done, total=step.total, rate=rate)
        now = time.monotonic()
        self._forecast(step)
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            self._print(f"{step.stage}: {step.done / max(1, step.total):.0%}  {rate}")

    def _begin(self, step: TrainingStep) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._stage, self._first = step.stage, step.done
        self._task = self._bar.add_task(step.stage, total=step.total, rate="")

    def _forecast(self, step: TrainingStep) -> None:
        done = step.done - self._first
        if self._has_forecast or not step.n_tokens or step.seconds < FORECAST_AFTER or done < 2:
            return
        self._has_forecast = True
        left = (step.total - step.done) * step.seconds / done
        if left > FORECAST_AFTER:
            self._print(f"Training will take about {duration(left)} more; it can be stopped, and goes on from there.")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _rate(step: TrainingStep) -> str:
    parts = []
    if step.n_tokens and step.seconds > 0.5:
        parts.append(f"{step.n_tokens / step.seconds:,.0f} tokens/s")
    if step.loss is not None:
        parts.append(f"loss {step.loss:.3f}")
    return ", ".join(parts)
