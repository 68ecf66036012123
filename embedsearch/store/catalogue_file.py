"""A catalogue's file that is being written: its tables, and how a paper is put into them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

from embedsearch.corpus import month_of, to_text
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.records import Paper
from embedsearch.store.catalogue import title_key
from embedsearch.store.catalogue_views import TABLES
from embedsearch.store.filters import fold_name
from embedsearch.store.manifest import REPAIR

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
def database_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"expected to write {path}, found: {error}") from error
    except sqlite3.DatabaseError as error:  # of a catalogue that is read
        raise StoreCorrupt(f"expected papers to write {path} from, found: {error}; {REPAIR}") from error


class CatalogueFile:
    """A catalogue's file that is open for writing. It has no journal: it is synced and renamed when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with database_errors(path):
            self.db = sqlite3.connect(f"file:{quote(str(path.resolve()))}", uri=True, isolation_level=None)
            self.db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;")

    def close(self) -> None:
        """Give the file up, unfinished."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row_of(self, id: str) -> int | None:
        return self._row_where("SELECT row FROM papers WHERE id = ?", id)

    def _row_where(self, query: str, id: str) -> int | None:
        try:
            found = self.db.execute(query, (id,)).fetchone()
        except UnicodeEncodeError:  # of a lone surrogate, which no stored text holds
            return None
        return found[0] if found else None

    def _delete(self, row: int) -> None:
        for table in TABLES:
            self.db.execute(f"DELETE FROM {table} WHERE row = ?", (row,))

    def _insert(self, row: int, paper: Paper, text: str) -> None:
        names = [to_text(name) for name in paper.authors]
        self.db.execute(
            "INSERT INTO papers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row, paper.id, paper.version, paper.published or month_of(paper.id), paper.updated,
                paper.categories[0] if paper.categories else None, paper.doi.lower() if paper.doi else None,
                title_key(paper.title),
                "\n".join(" ".join(fold_name(name)) for name in names),
            ),
        )  # fmt: skip
        self.db.execute(
            "INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row, paper.title, paper.abstract, json.dumps(paper.authors), to_text(paper.title),
                to_text(paper.abstract), json.dumps(names), json.dumps(paper.categories), paper.doi, paper.journal_ref,
                paper.comments, paper.licence, json.dumps(dict(paper.extra)), text_checksum(text),
            ),
        )  # fmt: skip
        self.db.executemany("INSERT OR IGNORE INTO categories VALUES (?, ?)", ((c, row) for c in paper.categories))

    def _close_gaps(self, first: int) -> int:
        """Number the rows from `first` on anew, without gaps; returns the row after the last."""
        new, old = first, first - 1
        while piece := self.db.execute(
            "SELECT row FROM papers WHERE row > ? ORDER BY row LIMIT 10000", (old,)
        ).fetchall():
            for (old,) in piece:
                if new != old:  # ascending, so the new number is always free
                    for table in TABLES:
                        self.db.execute(f"UPDATE {table} SET row = ? WHERE row = ?", (new, old))
                new += 1
        return new


def text_checksum(text: str) -> bytes:
    """SHA-256 of a text that is embedded."""
    return hashlib.sha256(text.encode()).digest()
