"""The progress of passes over all pairs, and how long they will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from embedsearch.cli.terminal import Display, duration

if TYPE_CHECKING:
    from embedsearch.store.space import Space

FORECAST_FROM = 2e8
"""Pairs (20,000 papers) from which on a scan is timed beforehand: fewer are counted before that were said."""
N_PROBE = 4096
"""Papers whose pairs are counted to tell the rate."""


class PairDisplay(Display):
    """Progress of passes over all pairs, on stderr: a bar on a terminal, a plain line now and then elsewhere.

    As a context; `begin` names a pass, and the object itself is the callback that a scan takes.
    """

    def __init__(self, *, quiet: bool | None = None) -> None:
        super().__init__(quiet=quiet)
        self._what = "pairs"
        self._began = time.monotonic()

    def begin(self, what: str) -> PairDisplay:
        """A new pass, called this."""
        self._end_task()
        self._what = what
        self._began = self._last_line = time.monotonic()
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show how far the pass is."""
        if self._quiet:
            return
        now = time.monotonic()
        rate = f"{done / (now - self._began) / 1e6:,.0f} million pairs/s" if now - self._began > 0.5 else ""
        if self._task is None:
            self._task = self._bar.add_task(self._what, total=total, rate=rate)
        self._bar.update(self._task, completed=done, total=total, rate=rate)
        self._plain_line(f"{self._what}: {done / max(total, 1):.0%}  {rate}")

    def forecast(
        self, spaces: Sequence[Space], *, n_passes: float = 1, fast: bool = False, device: str = "cpu"
    ) -> None:
        """Say how long so many passes over all pairs will take, from a timed scan of few papers, where it is long."""
        n_pairs = len(spaces[0]) * (len(spaces[0]) - 1) // 2
        if self._quiet or n_pairs < FORECAST_FROM:
            return
        import numpy as np

        from embedsearch.pairs.scan import scan_pairs

        probe = [space.take(np.arange(min(N_PROBE, len(space)))).vectors for space in spaces]
        scan_pairs([rows[:256] for rows in probe], fast=fast, device=device)  # compiles
        began = time.monotonic()
        scan = scan_pairs(probe, fast=fast, device=device)
        seconds = (time.monotonic() - began) * n_passes * n_pairs / scan.n_pairs
        self._print(f"{n_pairs:,} pairs of {len(spaces[0]):,} papers: that will take about {duration(seconds)}.")
