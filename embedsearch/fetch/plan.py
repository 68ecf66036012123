"""Which days of which sets a fetch asks for: of a new file, of one that is not complete, of one that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from embedsearch.errors import OptionError
from embedsearch.fetch.days import since_day, until_day, utc_today
from embedsearch.fetch.records import OAI
from embedsearch.fetch.server import Server
from embedsearch.fetch.state import Files, Reading, State

PREFIXES: Final = ("arXivRaw", "arXiv")
"""The formats of records that are understood."""
DEFAULT_DAYS: Final = 30
"""Without a first day, a new file has the records of so many days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What `fetch` was asked for; `since` and `until` None where nothing was said."""

    sets: tuple[str, ...]
    prefix: str
    base_url: str
    since: date | None
    until: date | None


def wanted(
    sets: Sequence[str], out: Path, *, since: str | None, until: str | None, prefix: str, base_url: str
) -> Wanted:
    """The arguments of `fetch`, read. Raises OptionError for what cannot be."""
    if isinstance(sets, str) or not sets or not all(name.isascii() and name.isprintable() and name for name in sets):
        raise OptionError(f"expected sets such as physics:astro-ph, found {sets!r}")
    if prefix not in PREFIXES:
        raise OptionError(f"expected a prefix ({', '.join(PREFIXES)}), found {prefix!r}")
    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise OptionError(f"expected a file .jsonl or .jsonl.gz, found {str(out)!r}")
    if out.is_dir():
        raise OptionError(f"expected a file, found the folder {out}")
    first = since_day(since) if since is not None else None
    last = until_day(until) if until is not None else None
    if first and last and last < first:
        raise OptionError(f"expected an end not before the beginning, found {first} until {last}")
    names = tuple(dict.fromkeys(sets))
    return Wanted(sets=names, prefix=prefix, base_url=base_url, since=first, until=last)


def begin(wanted: Wanted, server: Server) -> State:
    """A new file. The server says since when it has records: arXiv's refuses an earlier day."""
    since = wanted.since or utc_today() - timedelta(days=DEFAULT_DAYS)
    earliest = _earliest(server)
    if wanted.until is not None and earliest is not None and wanted.until < earliest:
        raise OptionError(f"expected an end after {earliest}, since when {server.host} has records")
    day = max(since, earliest or since).isoformat()
    return State(
        base_url=wanted.base_url,
        prefix=wanted.prefix,
        sets=list(wanted.sets),
        begin=since.isoformat(),
        since=day,
        until=wanted.until.isoformat() if wanted.until else None,
        reading=Reading(since=day),
    )


def _earliest(server: Server) -> date | None:
    try:
        return date.fromisoformat(
            (server.ask("Identify").element.findtext(f"{OAI}earliestDatestamp") or "").strip()[:10]
        )
    except ValueError:
        return None  # it names none; then it has to take any


def compare(state: State, wanted: Wanted, files: Files) -> None:
    """Raise OptionError where the file was begun with other sets, or other days, than are wanted."""
    which = f"{files.out} was begun with {' and '.join(state.sets)} as {state.prefix} from {state.base_url}"
    if (wanted.base_url, wanted.prefix, {*wanted.sets}) != (state.base_url, state.prefix, {*state.sets}):
        raise OptionError(f"expected what {which}; name another file with --out")
    if wanted.since is not None and wanted.since.isoformat() < state.begin:
        raise OptionError(
            f"expected no day before {state.begin}, found {wanted.since}: {which} since then; name another file with"
            " --out"
        )
    if not state.is_complete and wanted.until is not None and wanted.until.isoformat() != state.until:
        raise OptionError(
            f"expected the end of the fetch that is not complete ({state.until or 'none was named'}), found"
            f" {wanted.until}; leave --until out to go on, or remove {files.part.name} and {files.state.name}"
        )


def again(state: State, wanted: Wanted) -> bool:
    """Make a complete state one that begins where it stopped; False where no new day is asked for."""
    since = state.reach or state.since
    if wanted.until is not None and wanted.until.isoformat() < since:
        return False
    state.since, state.until = since, wanted.until.isoformat() if wanted.until else None
    state.is_complete, state.sets_done, state.asked_on = False, 0, None
    state.size = state.n_lines = state.n_bad = 0
    state.reading = Reading(since=since)
    return True


def end(state: State) -> None:
    """Make the state complete, and say from which day on the next fetch has to ask.

    A day is complete when it is over by the server's clock, and by ours; a copy of an answer that somebody keeps may be
    a day old.
    """
    asked_on = min(date.fromisoformat(state.asked_on or "9999-12-31"), utc_today())
    known = (asked_on - timedelta(days=1)).isoformat()
    state.reach = max(min(known, state.until or known), state.since)
    state.is_complete = True
