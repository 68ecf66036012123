"""From the pages of a fetch to the output: each id once, in the order of modification."""

from __future__ import annotations

import gzip
import heapq
import io
import zlib
from array import array
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import msgspec

from embedsearch.errors import StoreCorrupt
from embedsearch.store import atomic

Entry = tuple[str, int, bytes]
"""Day of modification, position, line."""


class Head(msgspec.Struct):
    """What is needed of a record here."""

    id: str
    update_date: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """How many different papers a fetch brought, how many of them are deletions, and how many records OUT has now."""

    n_records: int
    n_deleted: int
    n_all: int


def place(part: Path, size: int, out: Path) -> Placed:
    """Merge the first `size` bytes of `part` into `out`, which is replaced as a whole, or made.

    What was written last of an id stands. Both are read line by line: only ids and positions of the part are held.
    """
    ids, places, days = _index(part, size)
    order = sorted(ids.values(), key=lambda at: (days[at], at))
    n_deleted = n_all = 0
    with ExitStack() as stack:
        file = stack.enter_context(atomic.new_path(out))
        old = stack.enter_context(closing(_others(out, ids)))
        lines: IO[bytes] = stack.enter_context(open(part, "rb")) if size else io.BytesIO()
        to = stack.enter_context(_writer(file, is_gzip=out.suffix == ".gz"))
        new = _lines(lines, order, places, days)
        # Of one day: those that were there come first, as heapq.merge takes equal ones of the first source first.
        for _, position, line in heapq.merge(old, new, key=lambda entry: entry[0]):
            n_all += 1
            n_deleted += position >= 0 and _head(line, part).deleted
            to.write(line)
    return Placed(len(ids) - n_deleted, n_deleted, n_all)


def _index(part: Path, size: int) -> tuple[dict[str, int], array[int], list[str]]:
    """The last line of each id, and of each line its offset and day."""
    ids: dict[str, int] = {}
    places, days = array("q"), []
    known: dict[str, str] = {}  # one text a day, not one a record
    at = 0
    if size:
        with atomic.disk_errors(part), open(part, "rb") as file:
            while at < size:
                line = file.readline()
                head = _head(line, part)
                ids[head.id] = len(places)
                places.append(at)
                days.append(known.setdefault(head.update_date, head.update_date))
                at += len(line)
    return ids, places, days


def _lines(file: IO[bytes], order: list[int], places: array[int], days: list[str]) -> Iterator[Entry]:
    for at in order:
        file.seek(places[at])
        yield days[at], at, file.readline()


def _others(out: Path, ids: dict[str, int]) -> Generator[Entry]:
    """The records of `out` that are not among `ids`, as they stand there."""
    if not out.exists():
        return
    try:
        with gzip.open(out, "rb") if out.suffix == ".gz" else open(out, "rb") as file:
            for line in file:
                head = _head(line, out)
                if head.id not in ids:
                    yield head.update_date, -1, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StoreCorrupt(f"expected {out} as it was fetched, found a damaged file ({error})") from error


@contextmanager
def _writer(path: Path, *, is_gzip: bool) -> Iterator[IO[bytes]]:
    with open(path, "wb") as file:
        if not is_gzip:
            yield file
            return
        # Without name and time in the header the same records are the same bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _head(line: bytes, path: Path) -> Head:
    try:
        return msgspec.json.decode(line, type=Head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"expected records that fetch wrote in {path}, found another line ({error})") from None
