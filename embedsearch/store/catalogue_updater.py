"""Changes a copy of a catalogue: rows stay, new ones come behind them, dead ones go."""

from __future__ import annotations

import json
import shutil
from enum import Enum
from pathlib import Path
from typing import Any

from embedsearch.corpus import month_of
from embedsearch.errors import StoreError
from embedsearch.records import Paper
from embedsearch.store.catalogue import TABLES
from embedsearch.store.catalogue_file import SCHEMA, CatalogueFile, database_errors, text_checksum

COMPARED = (
    "version, published, updated, title, abstract, authors, categories, texts.doi, journal_ref, comments, licence,"
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
    """Changes a copy of the catalogue at `known`: rows that are there keep their numbers, new ones come behind them.

    The later of two records of a paper stands. `kinds` has what became of each paper that is not as it was, by id;
    `n_unchanged` counts records that say nothing new, `n_unknown` those that take out what is not there.
    """

    def __init__(self, path: Path, known: Path) -> None:
        with database_errors(path):
            try:
                shutil.copyfile(known, path)  # a clone of the blocks, where the file system can
            except OSError as error:
                raise StoreError(f"expected to copy {known} to {path}, found: {error.strerror}") from error
        super().__init__(path)
        self.kinds: dict[str, Kind] = {}
        self.dead: list[int] = []
        """Old rows that are dead now."""
        self.n_unchanged = 0
        self.n_unknown = 0
        with database_errors(path):
            (stated,), (n_papers,) = self._one("PRAGMA user_version"), self._one("SELECT count(*) FROM papers")
            self.first_new = stated or n_papers
            self._next_row = self.first_new
            self._renewed_rows: dict[str, int] = {}
            self._db.execute("BEGIN")

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
        """Close the file: the checksum over id and text of each row, papers, rows dead or alive."""
        with database_errors(self._path):
            n_rows = self._close_gaps(self.first_new)
            checksum = self._digest()
            (n_papers,) = self._one("SELECT count(*) FROM papers")
            self._db.execute(f"PRAGMA user_version = {n_rows}")
            self._db.execute("COMMIT")
            self._db.close()
        return checksum, n_papers, n_rows

    def _append(self, paper: Paper, text: str, kind: Kind) -> None:
        self._insert(self._next_row, paper, text)
        self._next_row += 1
        self.kinds[paper.id] = kind

    def _kill(self, row: int, id: str) -> None:
        self._delete(row)
        self.dead.append(row)
        self._renewed_rows.pop(id, None)

    def _stored(self, row: int) -> tuple[Any, ...]:
        return self._one(f"SELECT {COMPARED} FROM papers JOIN texts USING (row) WHERE row = ?", row)

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._db.execute(query, values).fetchone()
        return found


def write_living(path: Path, known: Path) -> str:
    """A catalogue of the papers of the one at `known`, in their order, in rows without gaps; returns its checksum."""
    with CatalogueFile(path) as writing, database_errors(path):
        db = writing._db
        db.executescript(SCHEMA)
        db.execute("ATTACH ? AS old", (str(known),))
        db.execute("BEGIN")
        db.execute("CREATE TEMP TABLE place (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
        db.execute("INSERT INTO place SELECT row, row_number() OVER (ORDER BY row) - 1 FROM old.papers")
        for table in TABLES:
            columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})") if name != "row"]
            names = ", ".join(columns)
            db.execute(
                f"INSERT INTO main.{table} (row, {names}) SELECT new, {names} FROM old.{table} JOIN place"
                " ON place.old = row ORDER BY " + ("category, row" if table == "categories" else "row")
            )
        checksum = writing._digest()
        db.execute("COMMIT")
        db.execute("DETACH old")
        db.execute("ANALYZE")
    return checksum


def _compared(paper: Paper, text: str) -> tuple[Any, ...]:
    """A record as COMPARED has it in a catalogue: the rest follows from it."""
    return (
        paper.version, paper.published or month_of(paper.id), paper.updated, paper.title, paper.abstract,
        json.dumps(paper.authors), json.dumps(paper.categories), paper.doi, paper.journal_ref, paper.comments,
        paper.licence, json.dumps(dict(paper.extra)), text_checksum(text),
    )  # fmt: skip
