"""Vectors from Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from embedsearch.errors import SpaceError
from embedsearch.store.array_files import recipe_of
from embedsearch.store.arrays import Collector, VectorFile
from embedsearch.store.batch_files import add_value
from embedsearch.store.vector_columns import Chosen, choose

_BATCH_ROWS = 256


def read_parquet(path: Path, fields: Mapping[str, str]) -> VectorFile:
    """Two columns of a table; the schema's metadata may say `model`, and holds what `write_space` notes."""
    import pyarrow  # half a second of import that only Parquet needs
    import pyarrow.parquet

    collector = Collector(path.name)
    try:
        # Not buffered ahead: a row group can be the whole file.
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            chosen = _chosen(path.name, file, fields)
            metadata = file.schema_arrow.metadata or {}
            first = 1
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[chosen.id, chosen.vector]):
                _add(collector, first, batch.column(chosen.id).to_pylist(), batch.column(chosen.vector))
                first += len(batch)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path.name}: expected Parquet, found: {' '.join(str(error).split())[:200]}") from None
    noted = metadata.get(b"model")
    return collector.as_file(noted.decode("utf-8", "replace") if noted else None, recipe_of(metadata.get(b"recipe")))


def _chosen(name: str, file: Any, fields: Mapping[str, str]) -> Chosen:
    """The columns of a file. Raises SpaceError where they are not clear or of a type that cannot be meant."""
    import pyarrow.types as types

    schema = file.schema_arrow

    def first(column: str) -> object:
        batch = next(file.iter_batches(batch_size=1, columns=[column]), None)
        return batch.column(0)[0].as_py() if batch is not None and len(batch) else None

    def is_vector(column: str) -> bool:
        of = _stored(schema.field(column).type)
        return _is_list(of) and (types.is_floating(of.value_type) or types.is_integer(of.value_type))

    if twice := next((column for column in schema.names if schema.names.count(column) > 1), None):
        raise SpaceError(f"{name}: expected columns of different names, found {twice!r} again")
    chosen = choose(name, schema.names, fields, first=first, is_vector=is_vector)
    if types.is_floating(schema.field(chosen.id).type):
        raise SpaceError(
            f"{name}: expected text in {chosen.id!r}, found numbers: so the id 0704.0010 loses its zeros; write the ids"
            " as text"
        )
    of = _stored(schema.field(chosen.vector).type)
    if not (is_vector(chosen.vector) or types.is_string(of) or types.is_large_string(of) or types.is_string_view(of)):
        raise SpaceError(f"{name}: expected lists of numbers in {chosen.vector!r}, found the type {of}")
    return chosen


def _add(collector: Collector, first: int, ids: list[object], column: Any) -> None:
    """Take a batch whose first row is the `first` of the file, from 1."""
    import pyarrow.types as types

    column = getattr(column, "storage", column)
    if not _is_list(column.type):
        for row, (id, text) in enumerate(zip(ids, column.to_pylist(), strict=True), first):
            add_value(collector, row, id, text, unit="row")
        return
    if column.null_count or (values := column.flatten()).null_count:
        for row, (id, numbers) in enumerate(zip(ids, column.to_pylist(), strict=True), first):
            add_value(collector, row, id, numbers, unit="row")  # finds the row, and refuses it
        return
    lengths = [column.type.list_size] * len(ids) if types.is_fixed_size_list(column.type) else None
    lengths = lengths or column.value_lengths().to_pylist()
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    start = 0
    while start < len(ids):  # all at once, unless some row has another length
        end = next((i for i in range(start, len(ids)) if lengths[i] != lengths[start]), len(ids))
        size = sum(lengths[start:end])
        rows, flat = flat[:size].reshape(end - start, lengths[start]), flat[size:]
        collector.add(ids[start:end], rows, lambda i, start=start: f"row {first + start + i}")  # type: ignore[misc]
        start = end


def _is_list(type: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type))


def _stored(type: Any) -> Any:
    """What a column is stored as: an extension type, such as a tensor of fixed shape, is a list by another name."""
    return getattr(type, "storage_type", type)
