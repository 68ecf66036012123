"""The progress of a build: a bar on a terminal, a plain line now and then elsewhere, both on stderr."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedsearch.build import BuildReport, Stage, Step
from embedsearch.cli.options import DEFAULT_INDEX
from embedsearch.cli.terminal import Display, duration
from embedsearch.render.tables import counted

FORECAST_AFTER = 3.0
"""Seconds of embedding after which its rate can be told from."""


class BuildDisplay(Display):
    """Call it with each Step."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._stage: Stage | None = None
        self._has_said = self._forecast = False
        self._first: tuple[float, Step] | None = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While something else is written or asked."""
        self._bar.stop()
        yield
        self._bar.start()

    def __call__(self, step: Step) -> None:
        """Show how far a build is."""
        if self._quiet:
            return
        now = time.monotonic()
        if step.stage is not self._stage:
            self._stage, self._last_line = step.stage, now
            self._end_task()
            self._task = self._bar.add_task(step.stage.value, total=None, rate="")
        if not self._has_said and step.stage is Stage.EMBED:
            self._say_what_is_to_do(step)
        if self._first is None and step.n_tokens and step.stage is Stage.EMBED:
            self._first = (now, step)  # the first batch waits for the model to load, and does not count
        rate = self._rate(step, now)
        if self._task is not None:
            self._bar.update(self._task, completed=step.done, total=step.total, rate=rate)
        if self._first is not None and not self._forecast and now - self._first[0] > FORECAST_AFTER:
            self._say_how_long(step, now)
        share = f"{step.done / step.total:.0%}" if step.total else f"{step.done:,}"
        self._plain_line(f"{step.stage.value}: {share}  {rate}")

    def _say_what_is_to_do(self, step: Step) -> None:
        if step.total is not None and step.n_tokens_expected:  # vectors that are there already cost none
            self._has_said = True
            to_do = step.total - step.done + step.n_papers
            self._print(f"To embed: {counted(to_do, 'paper')}, about {step.n_tokens_expected:,} tokens.")

    def _say_how_long(self, step: Step, now: float) -> None:
        """From the tokens: the longest texts come first, so papers alone would say too much."""
        self._forecast = True
        _, tokens = self._pace(step, now)
        if tokens and step.n_tokens_expected:
            left = (step.n_tokens_expected - step.n_tokens) / tokens
            if left > 2 * FORECAST_AFTER:
                self._print(f"That will take about {duration(left)}; the index can be searched by words meanwhile.")

    def _pace(self, step: Step, now: float) -> tuple[float, float]:
        """Papers and tokens a second since the first batch, 0 while that cannot be told."""
        if self._first is None or now - self._first[0] < 0.5:
            return 0.0, 0.0
        began, first = self._first
        return (step.n_papers - first.n_papers) / (now - began), (step.n_tokens - first.n_tokens) / (now - began)

    def _rate(self, step: Step, now: float) -> str:
        papers, tokens = self._pace(step, now)
        if not tokens or step.stage is not Stage.EMBED:
            return f"{step.n_papers:,} papers" if step.n_papers else ""
        truncated = f", {step.n_truncated:,} cut" if step.n_truncated else ""
        return f"{papers:,.1f} papers/s, {tokens:,.0f} tokens/s{truncated}"

    def report(self, report: BuildReport, index: Path, *, taken: bool = False) -> None:
        """Say what was done, what was left out, and what to do next."""
        self.report_papers(report)
        if report.already_complete:
            self._print(f"{index} is complete: {counted(report.n_papers, 'paper')}. Nothing to do.")
        else:
            how = "vectors taken" if taken else "embedded"
            self._print(f"{index}: {counted(report.n_papers, 'paper')}, {report.n_embedded:,} {how} now.")
        named = "" if str(index) == DEFAULT_INDEX else f"--index {shlex.quote(str(index))} "
        self._print(f'Next: embedsearch query {named}"magnetized plasma"')

    def report_papers(self, report: BuildReport) -> None:
        """Say what was left out or cut."""
        note = report.corpus
        if report.read:
            left_out = [
                f"{note.n_repeated:,} were repeated ids (the later record stands)" if note.n_repeated else "",
                f"{note.n_empty:,} had no abstract and were left out: {', '.join(report.empty_ids)}"
                + (", ..." if note.n_empty > len(report.empty_ids) else "")
                if note.n_empty
                else "",
                f"{note.n_without_vector:,} have no vector and were left out" if note.n_without_vector else "",
                f"{note.n_content_ids:,} had no id and got one made of their text" if note.n_content_ids else "",
            ]
            for line in filter(None, left_out):
                self._print(f"Of {note.n_read:,} records, {line}.")
        if report.n_truncated:
            self._print(f"Longer than the model takes, and cut: {counted(report.n_truncated, 'text')}.")
