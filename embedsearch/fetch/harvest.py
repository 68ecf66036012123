"""The harvest of one or more sets into a file, page after page.

Days go by the server's datestamps: when a record was changed, not when its paper was published. arXiv has changed many
old records at once more than once, so a harvest of a few days may bring papers of any year.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from embedsearch.errors import ServerError
from embedsearch.fetch import plan
from embedsearch.fetch.days import utc_today
from embedsearch.fetch.placing import Placed, place
from embedsearch.fetch.plan import Wanted
from embedsearch.fetch.protocol import OaiError, Page, read_page
from embedsearch.fetch.reports import FetchProgress, FetchReport
from embedsearch.fetch.server import PAUSE, Server
from embedsearch.fetch.sets import explain_set
from embedsearch.fetch.state import Files, Reading, State, lock, refuse_strangers
from embedsearch.store import atomic

ARXIV: Final = "https://oaipmh.arxiv.org/oai"
_MAX_RESTARTS: Final = 3

logger = logging.getLogger(__name__)


def fetch(
    sets: Sequence[str],
    out: str | Path,
    *,
    since: str | None = None,
    until: str | None = None,
    prefix: str = "arXivRaw",
    base_url: str = ARXIV,
    contact: str | None = None,
    pause: float = PAUSE,
    progress: Callable[[FetchProgress], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> FetchReport:
    """Write the records of `sets` that were changed since a day into `out` (.jsonl or .jsonl.gz), or go on with it.

    A paper that is in several sets is written once; what came last of an id stands. A deleted paper is
    {"id", "deleted": true, "update_date"}. `since` and `until` are days as `since_day` takes them, `since` None: the
    last DEFAULT_DAYS of a new file. A file that was fetched before is brought up to date from where it stopped,
    whatever later day `since` says; it takes the same sets and no earlier day. `contact` is sent to the server: an
    address at which its keepers can reach you. `pause` is in seconds, between requests. The state is kept beside `out`
    (OUT.fetch.json; see `fetch.state`).

    Raises OptionError for days, sets, prefix or address that cannot be, or that are not those of `out`; ServerError
    where the server cannot be asked or cannot answer: the same call goes on; StoreError for a file that cannot be
    written, StoreLocked if another process fetches into it.
    """
    path = Path(out)
    wanted = plan.wanted(sets, path, since=since, until=until, prefix=prefix, base_url=base_url)
    harvest = _Harvest(Files(path), wanted, progress or (lambda _: None))
    with Server(base_url, pause=pause, contact=contact, on_wait=harvest.wait, sleep=sleep) as server, lock(path):
        return harvest.run(server)


class _Harvest:
    """One call of `fetch`."""

    def __init__(self, files: Files, wanted: Wanted, progress: Callable[[FetchProgress], None]) -> None:
        self._files = files
        self._wanted = wanted
        self._progress = progress
        self._share: float | None = None
        self._server: Server
        self._state: State | None = None

    def run(self, server: Server) -> FetchReport:
        self._server = server
        state = self._files.load()
        if state is not None and (state.is_nothing or (state.is_complete and not self._files.out.exists())):
            state = None  # nothing came; or somebody took the file away, and wants it anew
        if state is None:
            refuse_strangers(self._files)
            state = plan.begin(self._wanted, server)
            self._files.save(state)
        else:
            server.rest_since(self._files.state.stat().st_mtime)
            self._files.check(state)
            plan.compare(state, self._wanted, self._files)
            if state.is_complete and not plan.again(state, self._wanted):
                return self._report(state, Placed(0, 0, state.n_all))
        self._state = state
        self._progress(self._told(state))
        while state.sets_done < len(state.sets):
            self._read_set(state)
        return self._report(state, self._finish(state))

    def wait(self, seconds: float, why: str) -> None:
        """Tell of a wait that the server asks for, or that follows a failure."""
        told = self._told(self._state) if self._state else FetchProgress(set=self._wanted.sets[0], since="")
        self._progress(replace(told, waiting=seconds, why=why))

    def _read_set(self, state: State) -> None:
        """Read the set whose turn it is to its end. A token that has expired begins it again at the last day."""
        last, n_restarts = state.reading.last, 0
        while True:
            try:
                page = self._read_page(state)
            except OaiError as error:
                if error.code != "badResumptionToken" or state.reading.token is None:
                    raise self._explained(state, error) from error
                n_restarts = n_restarts + 1 if state.reading.last == last else 1
                last = state.reading.last
                if n_restarts > _MAX_RESTARTS:
                    raise ServerError(
                        f"expected {self._server.host} to take its own tokens, found {n_restarts} expired ones in a row"
                        f" ({error}); try again later"
                    ) from error
                _restart(state)
                continue
            self._keep(state, page)
            if page is None or page.token is None:
                return

    def _read_page(self, state: State) -> Page | None:
        """The next page; None where nothing matches, which is no error."""
        reading = state.reading
        if reading.token is not None:
            arguments = {"resumptionToken": reading.token}
        else:
            arguments = {"metadataPrefix": state.prefix, "set": _turn(state), "from": reading.since}
            arguments |= {"until": state.until} if state.until else {}
        try:
            answer = self._server.ask("ListRecords", arguments)
        except OaiError as error:
            if error.code != "noRecordsMatch":
                raise
            if _is_first(state):  # is it a quiet week, or a set that is not there?
                explain_set(self._server, _turn(state))
            return None
        state.asked_on = state.asked_on or (answer.day or utc_today()).isoformat()
        return read_page(answer, state.prefix, reading.token)

    def _keep(self, state: State, page: Page | None) -> None:
        """Write a page, then what comes next: in this order, so that a kill between the two costs one page."""
        reading = state.reading
        if page is not None and page.records:
            self._files.append(state, page.records)
            days = [record["update_date"] for record in page.records]
            reading.is_ordered &= min(days) >= (reading.last or "")
            reading.last = max(reading.last or "", *days)
        if page is not None:
            for name in page.bad:
                logger.warning("%s cannot be read, and is left out", name)
            state.n_bad += len(page.bad)
            reading.n_read += len(page.records) + len(page.bad)
            reading.n_told = max(page.n_all or 0, reading.n_told)
        reading.is_begun = True
        reading.token = page.token if page else None
        told = self._told(state, _share(state, page))
        if reading.token is None:
            _warn_of_less(state)
            state.sets_done += 1
            state.reading = Reading(since=state.since)
        self._files.save(state)
        self._progress(told)

    def _told(self, state: State, share: float | None = None) -> FetchProgress:
        if share is not None:  # a token that has expired takes some of it back; the bar stays where it was
            self._share = max(self._share or 0.0, (state.sets_done + min(share, 1.0)) / len(state.sets))
        return FetchProgress(
            set=_turn(state),
            since=state.since,
            until=state.until,
            n_records=state.n_lines,
            n_requests=self._server.n_requests,
            share=self._share,
            day=state.reading.last,
        )

    def _explained(self, state: State, error: OaiError) -> Exception:
        if error.code == "badArgument" and _is_first(state):
            explain_set(self._server, _turn(state))
        asked = f"records of {_turn(state)} as {state.prefix} from {self._server.host}"
        return ServerError(f"expected {asked}, found {error.code}: {error}")

    def _finish(self, state: State) -> Placed:
        """Place the file, then say so, then clear up: each of these may be done again after a kill."""
        placed = Placed(0, 0, state.n_all)
        if state.size or state.reach is None:  # else there is nothing new, and OUT may be large
            placed = place(self._files.part, state.size, self._files.out)
        with atomic.disk_errors(self._files.out):
            state.out_size = self._files.out.stat().st_size
        state.n_all = placed.n_all
        plan.end(state)
        self._files.save(state)
        self._files.part.unlink(missing_ok=True)
        return placed

    def _report(self, state: State, placed: Placed) -> FetchReport:
        return FetchReport(
            n_records=placed.n_records,
            n_deleted=placed.n_deleted,
            n_bad=state.n_bad,
            n_all=placed.n_all,
            n_requests=self._server.n_requests,
            since=state.since,
            until=state.until or state.asked_on or utc_today().isoformat(),
            out=self._files.out,
        )


def _turn(state: State) -> str:
    """The set whose turn it is."""
    return state.sets[min(state.sets_done, len(state.sets) - 1)]


def _is_first(state: State) -> bool:
    """Whether nothing of this set ever came, so that it may not be there."""
    return state.reach is None and not state.reading.is_begun


def _warn_of_less(state: State) -> None:
    """A server that counts from the beginning of a list leaves records out if some of it go away meanwhile."""
    told, came = state.reading.n_told, state.reading.n_read
    if came < told:
        logger.warning("%s: expected %d records, found %d; fetch into a new file to have all", _turn(state), told, came)


def _restart(state: State) -> None:
    """Ask again from the last day if all before it has come; its own records come twice, of which one will stand."""
    reading, now = state.reading, state.asked_on or ""  # a record of a later day does not tell what came before it
    day = reading.last if reading.is_ordered and reading.last and reading.last <= now else state.since
    logger.info("the token has expired: %s again from %s", _turn(state), day)
    state.reading = Reading(since=day, is_begun=True, last=reading.last if day == reading.last else None)


def _share(state: State, page: Page | None) -> float:
    """How much of its set came with this page: of the records where the server tells their number, else of the days."""
    if page is None or page.token is None:
        return 1.0
    if page.n_all:
        return state.reading.n_read / page.n_all
    first = date.fromisoformat(state.since)
    last = date.fromisoformat(state.until or state.asked_on or state.since)
    now = date.fromisoformat(state.reading.last or state.since)
    return max((now - first).days, 0) / max((last - first).days, 1)
