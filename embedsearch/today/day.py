"""A day's list, and the file of it that lies in a store's folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.store.atomic import write_bytes

DAY_NAME = "today.json"
MAX_BYTES = 32 * 2**20
"""A file of more bytes is no list of ours: 500 papers with their abstracts take 2 MB."""


class Near(msgspec.Struct, frozen=True):
    """A paper of the library, and its cosine with a new one. `title` is text for people."""

    id: str
    title: str
    cosine: float


class DayPaper(msgspec.Struct, frozen=True, kw_only=True):
    """A new paper and why it is listed. Title, authors and abstract are texts for people.

    `cosine` is that with the nearest paper of the library, the first of `nearest`. `terms` are the rare terms that its
    title and abstract share with that one's, rarest first. `percentile` is the percentage of the store's papers of the
    year before that are less near to the library, `n_as_near` how many of them are at least as near; both are None
    where these papers are too few to tell.
    """

    id: str
    title: str
    authors: list[str]
    categories: list[str]
    published: str | None
    cosine: float
    nearest: list[Near]
    terms: list[str] = []
    percentile: float | None = None
    n_as_near: int | None = None
    abstract: str = ""


class DayList(msgspec.Struct, frozen=True, kw_only=True):
    """The new papers of some days that are nearest to a library, nearest first.

    `made` is UTC, ISO 8601, to the second; `since` and `until` are days, both included. `library` says what was liked
    as it was named: ids, and names of .bib files without their folders. `n_library` papers of it are in the store,
    `missing` names those that are not. `n_new` counts all new papers, those that are not listed too; `n_year` the
    papers of the year before that percentiles are among.
    """

    made: str
    since: str
    until: str
    library: list[str]
    n_library: int
    n_new: int
    papers: list[DayPaper]
    missing: list[str] = []
    n_year: int = 0


def day_path(folder: Path) -> Path:
    """Where the list of the store at `folder` lies."""
    return folder / DAY_NAME


def read_day(folder: Path) -> DayList | None:
    """The last list that was made for the store at `folder`; None where there is none.

    Raises StoreCorrupt where the file is no list, StoreError where it cannot be read.
    """
    path = day_path(folder)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"expected to read {path}, found: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise StoreCorrupt(f"expected a day's list in {path}, found more than {MAX_BYTES:,} bytes; remove it")
    try:
        return msgspec.json.decode(data, type=DayList)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(f"expected a day's list in {path}, found: {error}; make it again, or remove it") from error


def write_day(folder: Path, day: DayList) -> None:
    """Put `day` in the place of the last list. Raises StoreError where nothing can be written."""
    write_bytes(day_path(folder), msgspec.json.format(msgspec.json.encode(day), indent=1) + b"\n")
