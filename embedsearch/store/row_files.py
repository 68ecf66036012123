"""Rows of plain values as a file: CSV, JSON Lines or Parquet by its suffix."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from embedsearch.errors import OptionError
from embedsearch.store.atomic import check_writable, new_path

Rows = list[dict[str, Any]]


def check_row_file(path: Path) -> None:
    """Raise OptionError for a suffix that tells no format, StoreError where nothing can be written."""
    if path.suffix.lower() not in _WRITERS:
        raise OptionError(f"expected a file named *{', *'.join(_WRITERS)}, found {path.name!r}")
    if path.is_dir():
        raise OptionError(f"expected a file to write, found a folder of that name: {path}")
    check_writable(path)


def write_rows(path: Path, columns: Mapping[str, type], rows: Iterable[Iterable[Any]]) -> None:
    """Write `rows` of str, int, float or None under the names and types of `columns`; whole or not at all.

    None is null, and empty in CSV. Raises as `check_row_file`.
    """
    check_row_file(path)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    with new_path(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, columns, records)


def _csv(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(buffer.getvalue().encode())


def _jsonl(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    path.write_bytes(msgspec.json.Encoder().encode_lines(rows))


def _parquet(path: Path, columns: Mapping[str, type], rows: Rows) -> None:
    import pyarrow  # half a second of import that only Parquet needs
    import pyarrow.parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)


_WRITERS: dict[str, Callable[[Path, Mapping[str, type], Rows], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
