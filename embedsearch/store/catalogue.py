"""The papers of a store by row: SQLite files that are written once and then only read."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import Selection, to_text
from embedsearch.errors import StoreCorrupt
from embedsearch.records import Paper
from embedsearch.scores import Mask, Rows
from embedsearch.store.atomic import file_identity
from embedsearch.store.catalogue_views import State, checksum_of, open_views, read_only
from embedsearch.store.filters import Filters, fold_name, is_author
from embedsearch.store.manifest import REPAIR

T = TypeVar("T")

LISTED = "row IN (SELECT value FROM json_each(?))"
"""One text for lists of any length: SQLite keeps what it made of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPaper:
    """A paper with its row, and the texts that people read: LaTeX decoded, NFC."""

    row: int
    paper: Paper
    title: str
    abstract: str
    authors: tuple[str, ...]


class _Connection:
    """Closed when its thread ends or its catalogue goes, whichever is first: sqlite3's own wait for the collector."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.state: State | None = None

    def __del__(self) -> None:
        self.db.close()


class Catalogue:
    """Reads a catalogue. Thread-safe: each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._base: Path | None = None
        self._identity: tuple[tuple[int, int] | None, tuple[int, int] | None] | None = None
        # Once: the file does not change, and one that is no catalogue is found out here.
        state = self._opened().state
        self._n = state.n_papers if state else int(self._execute("SELECT count(*) FROM all_papers")[0][0])
        self._n_rows = state.n_rows if state else self._n

    def __len__(self) -> int:
        return self._n

    @property
    def n_rows(self) -> int:
        """Rows that were ever given: as many as papers, unless some are dead."""
        return self._n_rows

    def rows(self) -> Rows:
        """The rows of all papers, ascending: (n,) int64."""
        found = self._execute("SELECT row FROM all_papers ORDER BY row")
        return np.fromiter((row for (row,) in found), np.int64, len(found))

    def row_of(self, id: str) -> int | None:
        """The row of a paper by its normal id."""
        try:
            found = self._execute("SELECT row FROM all_papers WHERE id = ?", id)
        except UnicodeEncodeError:  # of a lone surrogate, which no stored text holds
            return None
        return found[0][0] if found else None

    def row_of_doi(self, doi: str) -> int | None:
        """The row of the first paper with this DOI, in any case."""
        found = self._execute("SELECT min(row) FROM all_papers WHERE doi = ?", doi.lower())
        row: int | None = found[0][0]
        return row

    def rows_of_title(self, title: str) -> list[int]:
        """The rows of the papers whose whole title is this, whatever its case, accents, LaTeX and punctuation."""
        key = title_key(title)
        return [row for (row,) in self._execute("SELECT row FROM all_papers WHERE title_key = ? ORDER BY row", key)]

    def ids(self, rows: Rows | None = None) -> list[str]:
        """The ids of `rows` in their order, or of all papers in the order of `rows()`."""
        if rows is None:
            return [id for _, id in self._execute("SELECT row, id FROM all_papers ORDER BY row")]
        found = dict(self._execute(f"SELECT row, id FROM all_papers WHERE {LISTED}", _list(rows)))
        return self._in_order(found, rows)

    def checksums(self) -> Iterator[tuple[int, str, bytes]]:
        """(row, id, SHA-256 of the text that is embedded) of every paper, in order of rows."""
        yield from self._rows("SELECT row, id, checksum FROM entries ORDER BY row")

    def papers(self, rows: Rows) -> list[StoredPaper]:
        """The papers of `rows` in their order."""
        found = {paper.row: paper for paper in self._read(f"WHERE {LISTED}", _list(rows))}
        return self._in_order(found, rows)

    def facet_values(self, rows: Rows) -> list[tuple[tuple[str, ...], str | None]]:
        """(categories, date of publication) of each of `rows`, in any order."""
        found = self._execute(f"SELECT categories, published FROM entries WHERE {LISTED}", _list(rows))
        return [(tuple(json.loads(categories)), published) for categories, published in found]

    def span(self, first: int, end: int) -> Iterator[StoredPaper]:
        """The papers of rows first to end - 1, in order, read as they are needed."""
        return self._read("WHERE row >= ? AND row < ? ORDER BY row", first, end)

    def allowed(self, filters: Filters) -> Mask:
        """Which rows pass all filters: (n_rows,) bool."""
        where, values = ["1"], []
        if filters.categories:
            wanted = Selection(categories=filters.categories)  # the corpus's own reading of the patterns
            names = [name for (name,) in self._execute("SELECT DISTINCT category FROM all_categories")]
            names = [name for name in names if wanted.matches_category(name)]
            where.append(f"row IN (SELECT row FROM all_categories WHERE category IN ({','.join('?' * len(names))}))")
            values += names
        for date, comparison in ((filters.since, ">="), (filters.until, "<=")):
            if date:  # ISO texts: comparing as many characters as the coarser has compares at its precision
                where.append(f"substr(published, 1, {len(date)}) {comparison} substr(?, 1, length(published))")
                values.append(date)
        for author in filters.authors:
            words = [word for word in fold_name(author) if len(word) > 1] or fold_name(author)
            where.append(f"({' OR '.join('authors_folded LIKE ?' for _ in words)})")  # narrows down; is_author decides
            values += [f"%{word}%" for word in words]
        mask: NDArray[np.bool_] = np.zeros(self.n_rows, bool)
        for row, authors in self._execute(
            f"SELECT row, authors_folded FROM all_papers WHERE {' AND '.join(where)}", *values
        ):
            mask[row] = all(is_author(name, authors.split("\n")) for name in filters.authors)
        return mask

    def _read(self, where: str, *values: object) -> Iterator[StoredPaper]:
        query = (
            "SELECT row, id, version, published, updated, doi, title, abstract, authors, title_text,"
            " abstract_text, authors_text, categories, journal_ref, comments, licence, extra"
            f" FROM entries {where}"
        )
        for (
            row, id, version, published, updated, doi, title, abstract, authors, title_text,
            abstract_text, authors_text, categories, journal_ref, comments, licence, extra,
        ) in self._rows(query, *values):  # fmt: skip
            try:
                # At once: it is the calls that take time.
                lists = json.loads(f"[{authors},{categories},{authors_text},{extra}]")
                names, of_categories, shown, more = (tuple(lists[0]), tuple(lists[1]), tuple(lists[2]), lists[3])
            except (ValueError, TypeError, LookupError) as error:
                raise self._corrupt(error) from error
            paper = Paper(
                id=id, abstract=abstract, title=title, authors=names, categories=of_categories,
                published=published, updated=updated, version=version, doi=doi, journal_ref=journal_ref,
                comments=comments, licence=licence, extra=more,
            )  # fmt: skip
            yield StoredPaper(row=row, paper=paper, title=title_text, abstract=abstract_text, authors=shown)

    def _in_order(self, found: dict[int, T], rows: Rows) -> list[T]:
        try:
            return [found[int(row)] for row in rows]
        except KeyError as error:
            raise self._corrupt(LookupError(f"no row {error}")) from error

    def _execute(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return list(self._rows(query, *values))

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._opened().db.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error

    def _corrupt(self, error: Exception) -> StoreCorrupt:
        return StoreCorrupt(f"expected papers in {self._path}, found: {error}; {REPAIR}")

    def checksum(self) -> str:
        """As `checksum_of` makes it, of all that the files hold: the base's is not taken on trust."""
        opened = self._opened()
        try:
            state = opened.state and replace(opened.state, checksum=checksum_of(opened.db, None, schema="base"))
            return checksum_of(opened.db, state)
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error

    def connect(self) -> None:
        """Open the file for the calling thread. Raises StoreCorrupt where another file lies there by now."""
        self._opened()

    def _opened(self) -> _Connection:
        opened: _Connection | None = getattr(self._local, "opened", None)
        if opened is None:
            try:
                self._local.opened = opened = self._open()
            except sqlite3.DatabaseError as error:
                raise self._corrupt(error) from error
        return opened

    def _open(self) -> _Connection:
        """A connection to the same files as the first: a folder that was renamed may have others of these names."""
        before = file_identity(self._path)
        # A connection is used by one thread; but any may be the one that closes it.
        opened = _Connection(sqlite3.connect(read_only(self._path), uri=True, check_same_thread=False))
        opened.state = open_views(opened.db, self._path)
        with self._lock:
            if self._identity is None:
                self._base = opened.state.base if opened.state else None
                self._identity = self._found()
            if before != self._identity[0] or not self.is_there():
                raise self._corrupt(LookupError("another file than before"))
        return opened

    def is_there(self) -> bool:
        """Whether its files still lie where they were opened: threads that come later need them there."""
        return self._found() == self._identity

    def _found(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        return file_identity(self._path), file_identity(self._base) if self._base else None


def title_key(title: str) -> int | None:
    """63 bits of the hash of a title's words, None where it has none."""
    words = " ".join(fold_name(to_text(title)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) >> 1 if words else None


def _list(rows: Rows) -> str:
    """For LISTED."""
    return json.dumps(rows.tolist())
