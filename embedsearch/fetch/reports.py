"""What a fetch tells while it runs, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """How far a fetch is. The first one tells which days of which set are asked for.

    `since` and `until` are these days, `until` None where none was named. `n_records` were written since the fetch
    began, in whichever process; `n_requests` were sent by this one. `share` is of the records where the server tells
    how many there are, else of the days; None while nothing is known. `waiting`: for how many seconds it waits now,
    and `why`.
    """

    set: str
    since: str
    until: str | None = None
    n_records: int = 0
    n_requests: int = 0
    share: float | None = None
    day: str | None = None
    waiting: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchReport:
    """What one fetch brought.

    `n_records` are papers, each counted once, `n_deleted` deletions, `n_bad` records that could not be read and were
    left out (each was a warning). `n_all` is how many records the file has now, deletions among them. `n_requests` were
    sent by this process. `since` and `until` are the first and the last day that were asked for.
    """

    n_records: int
    n_deleted: int
    n_bad: int
    n_all: int
    n_requests: int
    since: str
    until: str
    out: Path
