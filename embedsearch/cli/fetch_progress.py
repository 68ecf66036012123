"""What `fetch` says on stderr: what it begins with, how far it is, what came."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedsearch.cli.terminal import Display, duration

if TYPE_CHECKING:
    from embedsearch.fetch import FetchProgress, FetchReport

FORECAST_FROM = 60.0
"""Seconds from which on it is said how long the rest will take."""


def summary(report: FetchReport) -> str:
    """What came, and what can be done with it."""
    papers = "1 paper" if report.n_records == 1 else f"{report.n_records:,} papers"
    deleted = f", {report.n_deleted:,} deleted" if report.n_deleted else ""
    bad = f", {report.n_bad:,} left out" if report.n_bad else ""
    what = f"{papers}{deleted}{bad}" if report.n_records or deleted or bad else "nothing new"
    name = shlex.quote(str(report.out))
    following = f"\nNext: embedsearch build-index {name}, or embedsearch add {name}" if report.n_records else ""
    days = f"changed from {report.since} to {report.until}"
    return f"{report.out}: {what}, {days}; {report.n_all:,} records in all.{following}"


class FetchDisplay(Display):
    """The progress of a fetch, as a context; the object itself is the callback."""

    def __init__(self, sets: Sequence[str], out: Path, url: str) -> None:
        super().__init__()
        self._sets = " and ".join(sets)
        self._out = out
        self._url = url
        self._is_opened = False
        self._n_before = 0
        self._began = time.monotonic()

    def __call__(self, at: FetchProgress) -> None:
        """Show how far it is, or for what it waits."""
        if self._quiet:
            return
        if at.waiting:
            self._print(f"{at.set}: waiting {duration(at.waiting)}, found: {at.why}")
        elif not self._is_opened:
            self._is_opened = True
            self._n_before = at.n_records
            self._print(self._opening(at))
        else:
            self._show(at, at.share or 0.0)

    def _opening(self, at: FetchProgress) -> str:
        days = f"from {at.since} to {at.until}" if at.until else f"since {at.since}"
        more = f", going on after {at.n_records:,} records" if at.n_records else ""
        return f"{self._out}: {self._sets} of {self._url}, changed {days}{more}. One request in 3 seconds."

    def _show(self, at: FetchProgress, share: float) -> None:
        rate = f"{at.n_records:,} records{f', {at.day}' if at.day else ''}"
        if self._task is None:
            self._task = self._bar.add_task(at.set, total=1.0, rate=rate)
            self._forecast(at, share)
        self._bar.update(self._task, description=at.set, completed=share, total=1.0, rate=rate)
        self._plain_line(f"{at.set}: {share:.0%}  {rate}")

    def _forecast(self, at: FetchProgress, share: float) -> None:
        """After the first page: how long the rest takes, if that is long."""
        if self._n_before or share < 0.001:
            return  # of a fetch that goes on, what is done took no time here
        seconds = (time.monotonic() - self._began) * (1 - share) / share
        if seconds > FORECAST_FROM:
            self._print(f"{at.set}: {at.n_records:,} records in the first page, about {duration(seconds)} to go.")
