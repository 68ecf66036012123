"""A catalogue of one file or of two: a base that never changes, and beside it what has changed since.

The second file has the same tables, for papers that are new or other than in the base; `gone`, the rows of the base
that no longer stand; and `state`, with the name of the base, its checksum, and the counts of both together. So a change
of a few papers writes a few papers.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

CHANGES = """
CREATE TABLE gone (row INTEGER PRIMARY KEY);
CREATE TABLE state (base TEXT NOT NULL, checksum TEXT NOT NULL, n_papers INTEGER NOT NULL, n_rows INTEGER NOT NULL);
"""
"""What the second file has beside the tables of the first."""

TABLES = ("papers", "texts", "categories")

ENTRY = (
    "p.row, p.id, p.version, p.published, p.updated, t.doi, t.title, t.abstract, t.authors, t.title_text,"
    " t.abstract_text, t.authors_text, t.categories, t.journal_ref, t.comments, t.licence, t.extra, t.checksum"
)


@dataclass(frozen=True, slots=True)
class State:
    """Of a second file: its base, the base's checksum (see `checksum_of`), and what both have together."""

    base: Path
    checksum: str
    n_papers: int
    n_rows: int


def open_views(db: sqlite3.Connection, path: Path, *, schema: str = "main") -> State | None:
    """Make the views `all_papers`, `all_texts`, `all_categories` and `entries` (papers with their texts).

    They are of the catalogue at `path`, which `db`, opened with URIs, has as `schema`; its base is attached, if it has
    one. Returns its state, None for one file alone. Raises sqlite3.DatabaseError.
    """
    db.execute("PRAGMA temp_store = MEMORY")
    state = read_state(db, path, schema=schema)
    sources = [(schema, "")]
    if state is not None:
        db.execute("ATTACH ? AS base", (read_only(state.base),))
        sources.append(("base", f"WHERE {{}}row NOT IN (SELECT row FROM {schema}.gone)"))
    for table in TABLES:
        arms = (f"SELECT * FROM {source}.{table} {standing.format('')}" for source, standing in sources)
        db.execute(f"CREATE TEMP VIEW all_{table} AS {' UNION ALL '.join(arms)}")
    arms = (
        f"SELECT {ENTRY} FROM {source}.papers p JOIN {source}.texts t ON t.row = p.row {standing.format('p.')}"
        for source, standing in sources
    )
    db.execute(f"CREATE TEMP VIEW entries AS {' UNION ALL '.join(arms)}")
    return state


def read_state(db: sqlite3.Connection, path: Path, *, schema: str = "main") -> State | None:
    """The state of the catalogue at `path`; None for one file alone."""
    if db.execute(f"SELECT 1 FROM {schema}.sqlite_schema WHERE name = 'state'").fetchone() is None:
        return None
    base, *rest = db.execute(f"SELECT base, checksum, n_papers, n_rows FROM {schema}.state").fetchone()
    return State(path.with_name(base), *rest)


def checksum_of(db: sqlite3.Connection, state: State | None, *, schema: str = "main") -> str:
    """SHA-256 over the id and the text's checksum of each row, in order of rows.

    Of two files: over the base's, the rows that are gone, and row, id and text's checksum of what is in the second.
    """
    rows = db.execute(f"SELECT row, id, checksum FROM {schema}.papers JOIN {schema}.texts USING (row) ORDER BY row")
    digest = hashlib.sha256()
    if state is None:
        for _, id, checksum in rows:
            digest.update(id.encode() + b"\0" + checksum)
        return digest.hexdigest()
    digest.update(state.checksum.encode())
    for (row,) in db.execute(f"SELECT row FROM {schema}.gone ORDER BY row"):
        digest.update(b"-%d\0" % row)
    for row, id, checksum in rows:
        digest.update(b"+%d\0" % row + id.encode() + b"\0" + checksum)
    return digest.hexdigest()


def read_only(path: Path) -> str:
    """The URI of a file that nobody changes: no lock and no journal, so that a read-only folder serves as well."""
    return f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
