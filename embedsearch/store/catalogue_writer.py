"""Fills a new catalogue, once."""

from __future__ import annotations

import hashlib
import heapq
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedsearch.corpus import month_of, sample_key, to_text
from embedsearch.errors import StoreError
from embedsearch.records import Paper
from embedsearch.store.catalogue import TABLES, title_key
from embedsearch.store.filters import fold_name

# What filters read stands in `papers`, what is only shown or embedded in `texts`: a filter then reads a tenth of the
# bytes.
SCHEMA = """
CREATE TABLE papers (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER, published TEXT, updated TEXT,
    primary_category TEXT, doi TEXT, title_key INTEGER, authors_folded TEXT NOT NULL
);
CREATE TABLE texts (
    row INTEGER PRIMARY KEY, title TEXT NOT NULL, abstract TEXT NOT NULL, authors TEXT NOT NULL,
    title_text TEXT NOT NULL, abstract_text TEXT NOT NULL, authors_text TEXT NOT NULL, categories TEXT NOT NULL,
    doi TEXT, journal_ref TEXT, comments TEXT, licence TEXT, extra TEXT NOT NULL, checksum BLOB NOT NULL
);
CREATE TABLE categories (category TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (category, row)) WITHOUT ROWID;
CREATE INDEX papers_by_doi ON papers (doi) WHERE doi IS NOT NULL;
CREATE INDEX papers_by_title ON papers (title_key) WHERE title_key IS NOT NULL;
"""


@contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"expected to write {path}, found: {error}") from error


class CatalogueWriter:
    """Fills a new catalogue: rows in the order of the corpus, a repeated id replaces the earlier record in its row.

    `sample` keeps the n papers with the smallest `sample_key`, whatever their order.
    """

    def __init__(self, path: Path, *, sample: tuple[int, int] | None = None) -> None:
        self._path = path
        self._sample = sample
        self._kept: list[tuple[int, int]] = []  # heap of (-key, row): the largest key on top
        self._next_row = 0
        self._n = 0
        self.n_repeated = 0
        with _database_errors(path):
            self._db = sqlite3.connect(path, isolation_level=None)
            # A file that is synced and renamed when whole needs no journal of its own.
            self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;")
            self._db.executescript(SCHEMA)
            self._db.execute("BEGIN")

    def add(self, paper: Paper, *, text: str) -> bool:
        """Add a paper, whose text to embed is `text`; False if the sample leaves it out."""
        with _database_errors(self._path):
            known = self._row_of(paper.id)
            if known is not None:
                self.n_repeated += 1
                self._delete(known)
            elif (known := self._free_row(paper.id)) is None:
                return False
            self._insert(known, paper, text)
            return True

    def discard(self, id: str) -> bool:
        """Take a paper out again, because a later record of it is not wanted; True if it was there."""
        with _database_errors(self._path):
            row = self._row_of(id)
            if row is not None:
                self._delete(row)
                self._kept = [entry for entry in self._kept if entry[1] != row]
                heapq.heapify(self._kept)
            return row is not None

    def __len__(self) -> int:
        return self._n

    def finish(self) -> str:
        """Close the gaps in the rows and the file. Returns the checksum over id and text of each row."""
        digest = hashlib.sha256()
        with _database_errors(self._path):
            new, old = 0, -1
            while piece := self._db.execute(
                "SELECT row, id, checksum FROM papers JOIN texts USING (row) WHERE row > ? ORDER BY row LIMIT 10000",
                (old,),
            ).fetchall():
                for old, id, checksum in piece:
                    if new != old:  # ascending, so the new number is always free
                        for table in TABLES:
                            self._db.execute(f"UPDATE {table} SET row = ? WHERE row = ?", (new, old))
                    digest.update(id.encode() + b"\0" + checksum)
                    new += 1
            self._db.execute("COMMIT")
            self._db.execute("ANALYZE")
            self._db.close()
        return digest.hexdigest()

    def close(self) -> None:
        """Give the file up, unfinished."""
        self._db.close()

    def _row_of(self, id: str) -> int | None:
        found = self._db.execute("SELECT row FROM papers WHERE id = ?", (id,)).fetchone()
        return found[0] if found else None

    def _free_row(self, id: str) -> int | None:
        row = self._next_row
        if self._sample is not None:
            n, seed = self._sample
            entry = (-sample_key(id, seed), row)
            if len(self._kept) < n:
                heapq.heappush(self._kept, entry)
            elif entry <= self._kept[0]:
                return None
            else:
                self._delete(heapq.heapreplace(self._kept, entry)[1])
        self._next_row += 1
        return row

    def _delete(self, row: int) -> None:
        for table in TABLES:
            self._db.execute(f"DELETE FROM {table} WHERE row = ?", (row,))
        self._n -= 1

    def _insert(self, row: int, paper: Paper, text: str) -> None:
        self._n += 1
        names = [to_text(name) for name in paper.authors]
        self._db.execute(
            "INSERT INTO papers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row, paper.id, paper.version, paper.published or month_of(paper.id), paper.updated,
                paper.categories[0] if paper.categories else None, paper.doi.lower() if paper.doi else None,
                title_key(paper.title),
                "\n".join(" ".join(fold_name(name)) for name in names),
            ),
        )  # fmt: skip
        self._db.execute(
            "INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row, paper.title, paper.abstract, json.dumps(paper.authors), to_text(paper.title),
                to_text(paper.abstract), json.dumps(names), json.dumps(paper.categories), paper.doi, paper.journal_ref,
                paper.comments, paper.licence, json.dumps(dict(paper.extra)), hashlib.sha256(text.encode()).digest(),
            ),
        )  # fmt: skip
        self._db.executemany("INSERT OR IGNORE INTO categories VALUES (?, ?)", ((c, row) for c in paper.categories))
