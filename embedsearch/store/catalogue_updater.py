"""Changes a catalogue, in a file beside it: rows stay, new ones come behind them, dead ones go."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

from embedsearch.corpus import month_of
from embedsearch.records import Paper
from embedsearch.store.atomic import disk_errors
from embedsearch.store.catalogue_file import SCHEMA, CatalogueFile, database_errors, text_checksum
from embedsearch.store.catalogue_views import CHANGES, TABLES, checksum_of, open_views, read_only, read_state

COMPARED = (
    "version, published, updated, title, abstract, authors, categories, doi, journal_ref, comments, licence,"
    " extra, checksum"
)


class Kind(Enum):
    """What a record is to a catalogue that is changed."""

    NEW = "new"
    CHANGED = "changed"
    """Its text is another: the paper has a new row, the old one is dead."""
    RENEWED = "renewed"
    """Other fields are others: the paper keeps its row."""
    REMOVED = "removed"


class CatalogueUpdater(CatalogueFile):
    """Writes to `path` what changes of the catalogue at `known`, whose checksum is given, and what had changed before.

    It lies in the same folder. Rows that are there keep their numbers, new ones come behind them.

    The later of two records of a paper stands. `kinds` has what became of each paper that is not as it was, by id;
    `n_unchanged` counts records that say nothing new, `n_unknown` those that take out what is not there.
    """

    def __init__(self, path: Path, known: Path, *, checksum: str, n_rows: int) -> None:
        is_second = _copied(known, path)
        super().__init__(path)
        self.kinds: dict[str, Kind] = {}
        self.dead: list[int] = []
        """Old rows that are dead now."""
        self.n_unchanged = 0
        self.n_unknown = 0
        self.first_new = self._next_row = n_rows
        self._renewed_rows: dict[str, int] = {}
        with database_errors(path):
            if not is_second:
                self.db.executescript(SCHEMA + CHANGES)
                self.db.execute("INSERT INTO state VALUES (?, ?, ?, ?)", (known.name, checksum, n_rows, n_rows))
            self._state = open_views(self.db, path)
            self.db.execute("BEGIN")

    @property
    def renewed_rows(self) -> list[int]:
        """The old rows whose papers have other fields now, but the same text."""
        return sorted(self._renewed_rows.values())

    def add(self, paper: Paper, *, text: str) -> None:
        """Take a record of a paper, whose text to embed is `text`."""
        with database_errors(self._path):
            row = self._row_of(paper.id)
            if row is None:
                was_there = self.kinds.get(paper.id) is Kind.REMOVED
                self._append(paper, text, Kind.CHANGED if was_there else Kind.NEW)
                return
            stored, given = self._stored(row), _compared(paper, text)
            if stored == given:
                self.n_unchanged += 1
            elif row >= self.first_new:
                self._delete(row)
                self._insert(row, paper, text)
            elif stored[-1] == given[-1]:
                self._delete(row)
                self._insert(row, paper, text)
                self.kinds[paper.id], self._renewed_rows[paper.id] = Kind.RENEWED, row
            else:
                self._kill(row, paper.id)
                self._append(paper, text, Kind.CHANGED)

    def discard(self, id: str) -> None:
        """Take a paper out."""
        with database_errors(self._path):
            row = self._row_of(id)
            if row is None:
                self.n_unknown += 1
            elif row < self.first_new:
                self._kill(row, id)
                self.kinds[id] = Kind.REMOVED
            else:
                self._delete(row)
                if self.kinds[id] is Kind.NEW:
                    del self.kinds[id]
                else:
                    self.kinds[id] = Kind.REMOVED

    def ids(self, kind: Kind) -> tuple[str, ...]:
        """The papers of which this became, in the order in which they first did."""
        return tuple(id for id, each in self.kinds.items() if each is kind)

    def finish(self) -> tuple[str, int, int]:
        """Close the file: the checksum of the catalogue, its papers, its rows dead or alive."""
        with database_errors(self._path):
            n_rows = self._close_gaps(self.first_new)
            (n_papers,) = self._one("SELECT count(*) FROM all_papers")
            self.db.execute("UPDATE state SET n_papers = ?, n_rows = ?", (n_papers, n_rows))
            checksum = checksum_of(self.db, self._state)
            self.db.execute("COMMIT")
            self.db.close()
        return checksum, n_papers, n_rows

    def _row_of(self, id: str) -> int | None:
        return self._row_where("SELECT row FROM all_papers WHERE id = ?", id)

    def _delete(self, row: int) -> None:
        super()._delete(row)
        self.db.execute("INSERT OR IGNORE INTO gone SELECT row FROM base.papers WHERE row = ?", (row,))

    def _append(self, paper: Paper, text: str, kind: Kind) -> None:
        self._insert(self._next_row, paper, text)
        self._next_row += 1
        self.kinds[paper.id] = kind

    def _kill(self, row: int, id: str) -> None:
        self._delete(row)
        self.dead.append(row)
        self._renewed_rows.pop(id, None)

    def _stored(self, row: int) -> tuple[Any, ...]:
        return self._one(f"SELECT {COMPARED} FROM entries WHERE row = ?", row)

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self.db.execute(query, values).fetchone()
        return found


def write_living(path: Path, known: Path) -> str:
    """A catalogue of the papers of the one at `known`, in their order, in rows without gaps; returns its checksum."""
    with CatalogueFile(path) as writing, database_errors(path):
        db = writing.db
        db.executescript(SCHEMA)
        db.execute("ATTACH ? AS old", (read_only(known),))
        open_views(db, known, schema="old")
        db.execute("BEGIN")
        db.execute("CREATE TEMP TABLE place (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
        db.execute("INSERT INTO place SELECT row, row_number() OVER (ORDER BY row) - 1 FROM all_papers")
        for table in TABLES:
            columns = [name for _, name, *_ in db.execute(f"PRAGMA main.table_info({table})") if name != "row"]
            names = ", ".join(columns)
            db.execute(
                f"INSERT INTO main.{table} (row, {names}) SELECT new, {names} FROM all_{table} JOIN place"
                " ON place.old = row ORDER BY " + ("category, row" if table == "categories" else "row")
            )
        checksum = checksum_of(db, None)
        db.execute("COMMIT")
        db.execute("ANALYZE main")
    return checksum


def _copied(known: Path, path: Path) -> bool:
    """Copy to `path` what has changed up to `known`, if that is no whole catalogue; whether it was so."""
    with database_errors(path), closing(sqlite3.connect(read_only(known), uri=True)) as db:
        if read_state(db, known) is None:
            return False
    with disk_errors(path):
        shutil.copyfile(known, path)
    return True


def _compared(paper: Paper, text: str) -> tuple[Any, ...]:
    """A record as COMPARED has it in a catalogue: the rest follows from it."""
    return (
        paper.version, paper.published or month_of(paper.id), paper.updated, paper.title, paper.abstract,
        json.dumps(paper.authors), json.dumps(paper.categories), paper.doi, paper.journal_ref, paper.comments,
        paper.licence, json.dumps(dict(paper.extra)), text_checksum(text),
    )  # fmt: skip
