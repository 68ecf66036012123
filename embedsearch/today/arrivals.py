"""What is remembered between two mornings: where the last fetch stopped, and which papers came on which day."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import msgspec

from embedsearch.store.atomic import disk_errors, write_bytes

log = logging.getLogger("embedsearch")

FOLDER_NAME = "today"
"""Under the store's folder: what was fetched last, the lock, and what is remembered."""
MEMORY_NAME = "arrived.json"
KEPT = timedelta(days=31)
"""So long it is known on which day a paper came: that is as far back as --since can tell old papers from new ones."""


class Arrival(msgspec.Struct, frozen=True):
    """The ids of the papers that came into the store on a day of UTC."""

    day: date
    ids: list[str]


class Span(msgspec.Struct, frozen=True):
    """The first and the last day of a run. `goes_on`: the first is that on which the run before stopped."""

    since: date
    until: date
    goes_on: bool


class Memory(msgspec.Struct, frozen=True):
    """`last` are the days of the last run of each source."""

    last: dict[str, Span] = {}
    arrivals: list[Arrival] = []

    def span(self, source: str, today: date) -> Span:
        """The days of a run today: from where the last one stopped; again those of one that was today."""
        last = self.last.get(source)
        if last is None or last.since > today:  # a clock that was ahead has been set
            return Span(today - timedelta(days=1), today, goes_on=False)
        if last.until >= today:
            return msgspec.structs.replace(last, until=today)
        return Span(last.until, today, goes_on=True)

    def arrived(self, since: date) -> set[str]:
        """The ids of what came on that day or later."""
        return {id for arrival in self.arrivals if arrival.day >= since for id in arrival.ids}

    def with_arrived(self, day: date, ids: Iterable[str]) -> Memory:
        """The same, where these come on that day: also those that were to come before, and did not."""
        coming = set(ids)
        kept = [
            Arrival(known.day, [id for id in known.ids if id not in coming])
            for known in self.arrivals
            if known.day != day and known.day > day - KEPT
        ]
        today = sorted(coming.union(*(known.ids for known in self.arrivals if known.day == day)))
        return msgspec.structs.replace(self, arrivals=[*kept, *([Arrival(day, today)] if today else [])])

    def with_last(self, source: str, span: Span) -> Memory:
        """The same, where these are the days of the last run of the source."""
        return msgspec.structs.replace(self, last={**self.last, source: span})


def read_memory(folder: Path) -> Memory:
    """What is remembered of the store at `folder`. What cannot be read is forgotten, and said so."""
    path = folder / FOLDER_NAME / MEMORY_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read (%s): beginning as on the first day", path, error)
        return Memory()


def write_memory(folder: Path, memory: Memory) -> None:
    """Remember. Raises StoreError where nothing can be written."""
    path = folder / FOLDER_NAME / MEMORY_NAME
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_bytes(path, msgspec.json.encode(memory))
