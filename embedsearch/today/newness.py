"""Which papers are new: those that came into the store, by the date of their first version.

A paper of 2019 that was replaced yesterday is not new, though a store that never had it takes it in.

- `of_fetched`: papers that came into the store after the day (UTC) of the last listing before today's, so that a second
  run shows the list again, and so does one on the day after a run that was stopped before it came to its list; if their
  first version is at most LATE older than the first day that was fetched: arXiv announces a paper days after it was
  sent in, and later where a moderator looks at it first. A run goes on from where the last one stopped, so that a
  holiday costs nothing. Where a first day was asked for, and in the very first run, also those that were in the store
  before, if their first version is of that day or later, or if they are known to have come since (`arrivals.KEPT`).
- `of_file`: papers of a file that came into the store on this day, if their first version is at most a MONTH older than
  the newest of them. Where a first day was asked for: all of the file whose first version is of that day or later.
- `of_store`: all papers whose first version is of that day or later; by default of the last week that the store has.

A date that is known by month or year alone counts at that precision, and a paper without one is never too old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from embedsearch.scores import Rows
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.filters import Filters
from embedsearch.today.arrivals import Memory

LATE = timedelta(days=14)
MONTH = timedelta(days=31)
WEEK = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class New:
    """New rows, (n,) int64 without order, and the days that they are of."""

    rows: Rows
    since: date
    until: date


def of_fetched(view: StoreView, ids: Iterable[str], memory: Memory, *, since: date, today: date, goes_on: bool) -> New:
    """Of the papers that were fetched since a day; `goes_on` where that is the day of the last listing."""
    arrived = rows_of(view.catalogue, memory.arrived(since + timedelta(days=1) if goes_on else since))
    rows = _from(view.catalogue, arrived, since - LATE)
    if not goes_on:
        rows = np.union1d(rows, _from(view.catalogue, rows_of(view.catalogue, ids), since))
    return New(rows, since, today)


def of_file(view: StoreView, ids: Iterable[str], memory: Memory, *, since: date | None, today: date) -> New:
    """Of the papers of a file."""
    rows = rows_of(view.catalogue, ids)
    if since is not None:
        return New(_from(view.catalogue, rows, since), since, today)
    rows = np.intersect1d(rows, rows_of(view.catalogue, memory.arrived(today)))
    if dates := _dates(view.catalogue, rows):
        rows = _from(view.catalogue, rows, _first_day(dates[-1]) - MONTH)
        dates = _dates(view.catalogue, rows)
    return New(rows, _first_day(dates[0]) if dates else today, _end(dates, today))


def of_store(view: StoreView, *, since: date | None, today: date) -> New:
    """Of all papers."""
    mask = view.catalogue.allowed(Filters(since=None if since is None else since.isoformat(), until=today.isoformat()))
    rows = np.flatnonzero(mask)
    dates = _dates(view.catalogue, rows)
    if since is None:
        newest = dates[-1] if dates else today.isoformat()
        is_day = len(newest) == len("2026-11-29")
        return of_store(view, since=_first_day(newest) - (WEEK if is_day else timedelta(0)), today=today)
    return New(rows, since, _end(dates, today))


def rows_of(catalogue: Catalogue, ids: Iterable[str]) -> Rows:
    """The rows of those ids that are in the store."""
    found = (catalogue.row_of(id) for id in ids)
    return np.array([row for row in found if row is not None], np.int64)


def _from(catalogue: Catalogue, rows: Rows, day: date) -> Rows:
    """Those of `rows` whose date is that day or later, or not known."""
    dated = catalogue.allowed(Filters(since="1000"))
    return rows[catalogue.allowed(Filters(since=day.isoformat()))[rows] | ~dated[rows]]


def _dates(catalogue: Catalogue, rows: Rows) -> list[str]:
    """When the papers of `rows` were published, as precisely as it is known, sorted."""
    return sorted(published for _, published in catalogue.facet_values(rows) if published)


def _first_day(published: str) -> date:
    return date.fromisoformat(published + "0000-01-01"[len(published) :])


def _end(dates: Sequence[str], today: date) -> date:
    """The last day of the newest of `dates`, up to today."""
    if not dates:
        return today
    first = _first_day(dates[-1])
    longest = {len("2026"): 366, len("2026-11"): 31}.get(len(dates[-1]), 1)
    days = (first + timedelta(days=n) for n in range(longest))
    return max(day for day in days if day.isoformat().startswith(dates[-1]) and (day <= today or day == first))
