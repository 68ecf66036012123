"""The papers of a store by row: an SQLite file that is written once and then only read."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import month_of, sample_key, to_text
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.records import Paper
from embedsearch.scores import Mask, Rows
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
TABLES = ("papers", "texts", "categories")
CHECKSUMS = "SELECT row, id, checksum FROM papers JOIN texts USING (row) ORDER BY row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which papers may answer; those that are empty let all through.

    `categories` are patterns (`astro-ph*`), any of which may match any category of a paper, in any case. `since` and
    `until` are days, months or years, compared with a paper's date at the precision of the coarser of the two: a paper
    known as 2023-01 passes `since="2023-01-15"`. `authors` must each match one author: each of its words is a word of
    the name, or its beginning where one of the two is an initial; accents and case are ignored.
    """

    categories: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    authors: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPaper:
    """A paper with its row, and the texts that people read: LaTeX decoded, NFC."""

    row: int
    paper: Paper
    title: str
    abstract: str
    authors: tuple[str, ...]


def fold_name(name: str) -> list[str]:
    """The words of a name or a query in lower case without accents, as author filters compare them."""
    if name.isascii():
        return _WORD.findall(name.lower())
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = plain.casefold().replace("ø", "o").replace("ł", "l").replace("đ", "d").replace("æ", "ae").replace("ı", "i")
    return _WORD.findall(plain)


_WORD = re.compile(r"[^\W_]+")


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
        return int(self._db.execute("SELECT count(*) FROM papers").fetchone()[0])

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

    def _insert(self, row: int, paper: Paper, text: str) -> None:
        names = [to_text(name) for name in paper.authors]
        self._db.execute(
            "INSERT INTO papers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row, paper.id, paper.version, paper.published or month_of(paper.id), paper.updated,
                paper.categories[0] if paper.categories else None, paper.doi.lower() if paper.doi else None,
                _title_key(paper.title),
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


class Catalogue:
    """Reads a catalogue. Thread-safe: each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._execute("SELECT count(*) FROM papers")  # so that a file that is no catalogue is found out here

    def __len__(self) -> int:
        return int(self._execute("SELECT count(*) FROM papers")[0][0])

    def row_of(self, id: str) -> int | None:
        """The row of a paper by its normal id."""
        found = self._execute("SELECT row FROM papers WHERE id = ?", id)
        return found[0][0] if found else None

    def row_of_doi(self, doi: str) -> int | None:
        """The row of the first paper with this DOI, in any case."""
        found = self._execute("SELECT min(row) FROM papers WHERE doi = ?", doi.lower())
        row: int | None = found[0][0]
        return row

    def rows_of_title(self, title: str) -> list[int]:
        """The rows of the papers whose whole title is this, whatever its case, accents, LaTeX and punctuation."""
        key = _title_key(title)
        return [row for (row,) in self._execute("SELECT row FROM papers WHERE title_key = ? ORDER BY row", key)]

    def ids(self, rows: Rows | None = None) -> list[str]:
        """The ids of `rows` in their order, or of all papers by row."""
        if rows is None:
            return [id for (id,) in self._execute("SELECT id FROM papers ORDER BY row")]
        found = dict(self._execute(f"SELECT row, id FROM papers WHERE row IN ({_list(rows)})"))
        return [found[int(row)] for row in rows]

    def checksums(self) -> Iterator[tuple[int, str, bytes]]:
        """(row, id, SHA-256 of the text that is embedded) of every paper, in order of rows."""
        yield from self._connection().execute(CHECKSUMS)

    def papers(self, rows: Rows) -> list[StoredPaper]:
        """The papers of `rows` in their order."""
        found = {paper.row: paper for paper in self._read(f"WHERE row IN ({_list(rows)})")}
        return [found[int(row)] for row in rows]

    def span(self, first: int, end: int) -> Iterator[StoredPaper]:
        """The papers of rows first to end - 1, in order, read as they are needed."""
        return self._read("WHERE row >= ? AND row < ? ORDER BY row", first, end)

    def allowed(self, filters: Filters) -> Mask:
        """Which rows pass all filters: (n_papers,) bool."""
        where, values = ["1"], []
        if filters.categories:
            globs = " OR ".join("lower(category) GLOB ?" for _ in filters.categories)
            where.append(f"row IN (SELECT row FROM categories WHERE {globs})")
            values += [pattern.lower() for pattern in filters.categories]
        for date, comparison in ((filters.since, ">="), (filters.until, "<=")):
            if date:  # ISO texts: comparing as many characters as the coarser has compares at its precision
                where.append(f"substr(published, 1, {len(date)}) {comparison} substr(?, 1, length(published))")
                values.append(date)
        for author in filters.authors:
            where += ["authors_folded LIKE ?" for _ in fold_name(author)]
            values += [f"%{word[:1] if len(word) == 1 else word}%" for word in fold_name(author)]
        mask: NDArray[np.bool_] = np.zeros(len(self), bool)
        for row, authors in self._execute(
            f"SELECT row, authors_folded FROM papers WHERE {' AND '.join(where)}", *values
        ):
            mask[row] = all(_is_author(name, authors.split("\n")) for name in filters.authors)
        return mask

    def _read(self, where: str, *values: object) -> Iterator[StoredPaper]:
        query = (
            "SELECT row, id, version, published, updated, texts.doi, title, abstract, authors, title_text,"
            " abstract_text, authors_text, categories, journal_ref, comments, licence, extra"
            f" FROM papers JOIN texts USING (row) {where}"
        )
        for (
            row, id, version, published, updated, doi, title, abstract, authors, title_text,
            abstract_text, authors_text, categories, journal_ref, comments, licence, extra,
        ) in self._connection().execute(query, values):  # fmt: skip
            paper = Paper(
                id=id, abstract=abstract, title=title, authors=tuple(json.loads(authors)),
                categories=tuple(json.loads(categories)), published=published, updated=updated, version=version,
                doi=doi, journal_ref=journal_ref, comments=comments, licence=licence, extra=json.loads(extra),
            )  # fmt: skip
            yield StoredPaper(
                row=row, paper=paper, title=title_text, abstract=abstract_text, authors=tuple(json.loads(authors_text))
            )

    def _execute(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection().execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"expected papers in {self._path}, found: {error}; {REPAIR}") from error

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            # immutable: no lock and no journal, so that a read-only folder serves as well
            self._local.db = sqlite3.connect(f"file:{quote(str(self._path.resolve()))}?mode=ro&immutable=1", uri=True)
        db: sqlite3.Connection = self._local.db
        return db


def _title_key(title: str) -> int | None:
    """63 bits of the hash of a title's words, None where it has none."""
    words = " ".join(fold_name(to_text(title)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) >> 1 if words else None


def _list(rows: Rows) -> str:
    return ",".join(str(int(row)) for row in rows)


def _is_author(query: str, names: Sequence[str]) -> bool:
    wanted = fold_name(query)
    return any(all(any(_same_word(w, part) for part in name.split()) for w in wanted) for name in names)


def _same_word(wanted: str, word: str) -> bool:
    return wanted == word or (min(len(wanted), len(word)) == 1 and wanted[0] == word[0])
