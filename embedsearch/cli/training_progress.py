"""The progress of a training, on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedsearch.cli.terminal import Display, duration

if TYPE_CHECKING:
    from embedsearch.training.watching import TrainingStep

FORECAST_AFTER = 20.0
"""Seconds of training, before it is said how long it will take."""


class TrainingDisplay(Display):
    """As a context; the object is the callback that a training takes."""

    def __init__(self, *, quiet: bool | None = None) -> None:
        super().__init__(quiet=quiet)
        self._stage = ""
        self._last_line = 0.0  # the first step is told at once
        self._first = 0
        self._has_forecast = False

    def __call__(self, step: TrainingStep) -> None:
        """Show how far it is."""
        if self._quiet:
            return
        if step.stage != self._stage:
            self._begin(step)
        rate = _rate(step)
        if self._task is not None:
            self._bar.update(self._task, completed=step.done, total=step.total, rate=rate)
        self._forecast(step)
        self._plain_line(f"{step.stage}: {step.done / max(1, step.total):.0%}  {rate}")

    def _begin(self, step: TrainingStep) -> None:
        self._end_task()
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


def _rate(step: TrainingStep) -> str:
    parts = []
    if step.n_tokens and step.seconds > 0.5:
        parts.append(f"{step.n_tokens / step.seconds:,.0f} tokens/s")
    if step.loss is not None:
        parts.append(f"loss {step.loss:.3f}")
    return ", ".join(parts)
