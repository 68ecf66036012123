"""How far a fetch is: a file beside the output that always agrees with what was written.

While a fetch runs, pages are appended to OUT.part and synced; then OUT.fetch.json is replaced, which says how many
bytes of it count and what asks for the next page. What a kill left behind those bytes is cut off. At the end the part
becomes OUT, and the state says up to which day OUT is complete, so that the next fetch begins there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import filelock
import msgspec

from embedsearch.errors import OptionError, StoreCorrupt, StoreLocked
from embedsearch.fetch.records import Record
from embedsearch.store import atomic

FORMAT = 1


class Reading(msgspec.Struct):
    """One set being read: from which day, what asks for the next page, how much came, and the last day among it.

    `n_told`: how many there are in all, the most that the server told, if it did.
    `is_ordered`: so far the days never went back. Then what is before `last` has all come.
    """

    since: str
    token: str | None = None
    is_begun: bool = False
    n_read: int = 0
    n_told: int = 0
    last: str | None = None
    is_ordered: bool = True


class State(msgspec.Struct, kw_only=True):
    """What OUT holds, and how far the fetch is that runs, if `is_complete` is False.

    `begin`: the first day of what OUT holds, or will hold. `reach`: the day from which the next fetch has to ask; None
    before the first is complete. `since`, `until`: the days of the last fetch, `until` None where none was named.
    `asked_on`: the server's day at its first answer. `sets_done`: how many of `sets` are read. `size`: the bytes of the
    part that count. `out_size`, `n_all`: bytes and records of OUT when it was placed.
    """

    format: int = FORMAT
    base_url: str
    prefix: str
    sets: list[str]
    begin: str
    since: str
    until: str | None = None
    asked_on: str | None = None
    is_complete: bool = False
    sets_done: int = 0
    reading: Reading
    size: int = 0
    n_lines: int = 0
    n_bad: int = 0
    reach: str | None = None
    out_size: int | None = None
    n_all: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError where a day is none: of a file that somebody changed."""
        for day in (
            self.begin,
            self.since,
            self.until,
            self.asked_on,
            self.reach,
            self.reading.since,
            self.reading.last,
        ):
            if day is not None:
                date.fromisoformat(day)

    @property
    def is_nothing(self) -> bool:
        """Whether no page ever came, so that other sets or days may be asked for."""
        return self.reach is None and self.sets_done == 0 and not self.reading.is_begun


class Files:
    """OUT and the files beside it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.part = out.with_name(out.name + ".part")
        self.state = out.with_name(out.name + ".fetch.json")

    def load(self) -> State | None:
        """The state, None where there is none yet. Raises StoreCorrupt for a file that is none."""
        try:
            with atomic.disk_errors(self.state):
                data = self.state.read_bytes() if self.state.exists() else None
            state = msgspec.json.decode(data, type=State) if data is not None else None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreCorrupt(
                f"expected the state of a fetch in {self.state}, found something else ({error}); name another file with"
                " --out"
            ) from None
        if state is not None and state.format != FORMAT:
            raise StoreCorrupt(f"expected format {FORMAT} in {self.state}, found {state.format}: a later version's")
        return state

    def save(self, state: State) -> None:
        atomic.write_bytes(self.state, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")

    def append(self, state: State, records: Sequence[Record]) -> None:
        """Write records behind the bytes that count; `state` is told, and has to be saved."""
        encode = msgspec.json.Encoder().encode
        lines = b"".join(encode(record) + b"\n" for record in records)
        with atomic.disk_errors(self.part), open(self.part, "r+b" if state.size else "wb") as file:
            file.truncate(state.size)
            file.seek(state.size)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        state.size += len(lines)
        state.n_lines += len(records)

    def check(self, state: State) -> None:
        """Raise StoreCorrupt where files were changed by somebody else."""
        size = self.part.stat().st_size if self.part.exists() else 0
        if not state.is_complete and state.size > size:
            raise StoreCorrupt(
                f"expected at least {state.size:,} bytes in {self.part}, found {size:,}; remove it and"
                f" {self.state.name} to begin again"
            )
        # Where all is read, but it was not said yet that OUT is placed, it may be.
        found = self.out.stat().st_size if self.out.exists() else None
        if found != state.out_size and (state.is_complete or state.sets_done < len(state.sets)):
            raise StoreCorrupt(
                f"expected {self.out} as it was fetched ({state.out_size or 0:,} bytes), found {found or 0:,} bytes;"
                f" name another file with --out, or remove it and {self.state.name} to begin again"
            )


def refuse_strangers(files: Files) -> None:
    """Raise OptionError where files are in the way that no fetch wrote."""
    mine = files.state.exists()  # of a fetch that ended before its first page, which may have left a part but no OUT
    for path in (files.out,) if mine else (files.out, files.part):
        if path.exists() or path.is_symlink():
            raise OptionError(
                f"expected a new file, or one that fetch wrote, found {path}, which it did not; name another with --out"
            )


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Be the only one that fetches into `out`. Raises StoreLocked, and StoreError where nothing can be written."""
    atomic.check_writable(out)
    lock = filelock.FileLock(out.with_name(f".{out.name}.lock"), timeout=0)
    with atomic.disk_errors(out):
        try:
            lock.acquire()
        except filelock.Timeout:
            raise StoreLocked(
                f"expected to be the only one that fetches into {out}, found another process; wait for it"
            ) from None
    try:
        yield
    finally:
        lock.release()
