"""One pass over the records of a file, for each format that papers come in."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from embedsearch.corpus.fields import Columns, kind
from embedsearch.corpus.streams import Stream
from embedsearch.errors import CorpusError

_LONGEST_CELL: Final = 16 * 2**20
_BATCH: Final = 1024  # rows of a Parquet file at a time


class Records(Protocol):
    """One pass over a file: records with the number of their line or row, and how far it is."""

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]: ...
    def fraction(self) -> float | None: ...
    def close(self) -> None: ...


class JsonLines:
    """One JSON object a line; blank lines are passed over."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def fraction(self) -> float | None:
        return self._stream.fraction()

    def close(self) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        decode = msgspec.json.Decoder().decode
        for number, line in self._stream.lines():
            if line.isspace():
                continue
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                cut = "" if line.endswith(b"\n") else "; the file may have been cut"
                where = f"{self._stream.name}, line {number}"
                raise CorpusError(f"{where}: expected a JSON object, found {_broken(error, line)}{cut}") from None
            if not isinstance(record, dict):
                raise CorpusError(f"{self._stream.name}, line {number}: expected a JSON object, found {kind(record)}")
            yield number, record


def _broken(error: Exception, line: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not UTF-8"
    # msgspec's text is one line and names the byte: "JSON is malformed: expected ':' (byte 12)".
    return f"what JSON does not allow ({error}): {line[:30].decode('utf-8', 'replace')!r}"


class Csv:
    """Rows under a header; all cells are text."""

    def __init__(self, stream: Stream, columns: Columns) -> None:
        self._stream = stream
        # Process-wide, and harmless: csv's own limit of 128 KB is less than some abstracts with their vectors.
        csv.field_size_limit(_LONGEST_CELL)
        lines = self._text()
        self._reader = csv.reader(lines, strict=True)
        try:
            self._names = self._header()
            if wrong := columns.missing(self._names):
                raise CorpusError(f"{stream.name}: {wrong}")
        except CorpusError:
            stream.close()  # nobody else will, as there is no object that could be closed
            raise

    def fraction(self) -> float | None:
        return self._stream.fraction()

    def close(self) -> None:
        self._stream.close()

    def _text(self) -> Iterator[str]:
        for number, line in self._stream.lines():
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{self._stream.name}, line {number}: expected UTF-8, found the byte {line[error.start]:#04x}"
                ) from None

    def _rows(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            raise CorpusError(
                f"{self._stream.name}, line {self._reader.line_num}: expected CSV with quotes doubled, found: {error}"
            ) from None

    def _header(self) -> tuple[str, ...]:
        names = tuple(name.strip() for name in next(self._rows(), []))
        if twice := {name for name in names if names.count(name) > 1}:
            raise CorpusError(f"{self._stream.name}: expected each column once, found {', '.join(sorted(twice))} twice")
        return names

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        for cells in self._rows():
            if not cells:
                continue
            if len(cells) != len(self._names):
                where = f"{self._stream.name}, line {self._reader.line_num}"
                raise CorpusError(f"{where}: expected {len(self._names)} cells, found {len(cells)}")
            yield self._reader.line_num, dict(zip(self._names, cells, strict=True))


class Parquet:
    """Rows, read in batches; columns of vectors are left out."""

    def __init__(self, path: Path, columns: Columns) -> None:
        # Half a second of import that only Parquet needs.
        import pyarrow
        import pyarrow.parquet

        self._name = path.name
        self._broken = (pyarrow.ArrowException, OSError)
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except self._broken as error:
            raise CorpusError(f"{self._name}: expected Parquet, found {_one_line(error)}") from None
        schema = self._file.schema_arrow
        if wrong := columns.missing(schema.names):
            raise CorpusError(f"{self._name}: {wrong}")
        id = columns.of(tuple(schema.names)).get("id")
        if id is not None and pyarrow.types.is_floating(schema.field(id).type):
            raise CorpusError(
                f"{self._name}: expected text in {id!r}, found numbers ({schema.field(id).type}): as a number the id "
                "0704.0010 loses its zeros; write the ids as text"
            )
        # Vectors are no facts about a paper, and most of such a file.
        self._read = [field.name for field in schema if not _is_vector(field.type)]
        self._n_read = 0

    def fraction(self) -> float:
        return self._n_read / max(1, int(self._file.metadata.num_rows))

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH, columns=self._read):
                for record in batch.to_pylist():
                    self._n_read += 1
                    yield self._n_read, record
        except self._broken as error:
            raise CorpusError(f"{self._name}, after row {self._n_read}: {_one_line(error)}") from None


def _is_vector(type: object) -> bool:
    import pyarrow.types as types

    is_list = types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type)
    return bool(is_list and types.is_floating(type.value_type))  # type: ignore[attr-defined]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
