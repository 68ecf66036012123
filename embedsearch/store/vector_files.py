"""Vectors from files that people have: which reader is for which file, and what all of them give."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from embedsearch.errors import CorpusError, SpaceError, StoreNotFound
from embedsearch.store import array_files, record_files, table_files
from embedsearch.store.arrays import VectorFile
from embedsearch.store.vector_columns import check_fields

log = logging.getLogger("embedsearch")

SUFFIXES = (".npz", ".npy", ".parquet", ".pq", ".jsonl", ".ndjson", ".json", ".csv")
"""Of what can be read; the last four may end in .gz or .zst as well."""
PACKED = (".gz", ".zst")


def split_name(path: Path) -> tuple[str, str]:
    """(stem, suffix) of a file's name without .gz and .zst: ("ada", ".jsonl")."""
    name = path.name
    for packed in PACKED:
        if name.lower().endswith(packed):
            name = name[: -len(packed)]
    inner = Path(name)
    return inner.stem, inner.suffix.lower()


def read_vectors(path: Path, *, fields: Mapping[str, str] | None = None) -> VectorFile:
    """The vectors of a file with ids; its suffix says which format that is, see SUFFIXES.

    `fields` names the columns where that is not clear: {"id": "DOI", "embedding": "abstract-embeddings"}. Raises
    StoreNotFound where there is no such file; SpaceError, which names line or row and id, for what cannot be read;
    BadVector for a vector of NaN, infinity or zero.
    """
    named = check_fields(fields)
    _, suffix = split_name(path)
    if not path.exists():
        raise StoreNotFound(f"expected a file of vectors or an index at {path}, found none")
    if suffix not in SUFFIXES:
        raise SpaceError(f"{path}: expected an index or a file of vectors ({', '.join(SUFFIXES)}), found another file")
    try:
        if not path.stat().st_size:
            raise SpaceError(f"{path.name}: expected vectors, found an empty file")
        found = _read(path, suffix, named)
    except CorpusError as error:  # of the readers that files of papers have, too: it names file and line
        raise SpaceError(str(error)) from None
    except OSError as error:
        raise SpaceError(f"{path}: {error.strerror or error}") from error
    if found.n_repeated:
        log.warning("%s: %s ids stand there again with the same vector", path.name, f"{found.n_repeated:,}")
    return found


def _read(path: Path, suffix: str, fields: dict[str, str]) -> VectorFile:
    if suffix == ".npz":
        return array_files.read_npz(path, fields)
    if suffix == ".npy":
        return array_files.read_npy(path)
    if suffix in (".parquet", ".pq"):
        return table_files.read_parquet(path, fields)
    return record_files.read_csv(path, fields) if suffix == ".csv" else record_files.read_json(path, fields)
