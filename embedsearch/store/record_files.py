"""Vectors from files of text: JSON Lines, what OpenAI's Batch API writes, and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from embedsearch.corpus.fields import Columns
from embedsearch.corpus.formats import Csv
from embedsearch.corpus.streams import Stream
from embedsearch.errors import SpaceError
from embedsearch.store.arrays import Collector, VectorFile
from embedsearch.store.batch_files import Record, add_value, is_answer, read_batch
from embedsearch.store.vector_columns import Chosen, broken_values, choose, plain

_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_json(path: Path, fields: Mapping[str, str]) -> VectorFile:
    """One object a line; a key `model` says what made the vectors, and `write_space` notes the recipe in the first."""
    reader = _Reader(path.name, fields)
    with closing(_open(path)) as stream:
        lines = _objects(stream)
        for number, record in lines:
            if not reader.is_begun and is_answer(record):
                return read_batch(path.name, number, record, lines)
            with broken_values(f"{path.name}, line {number}"):
                reader.add(number, record)
    return reader.finish()


def read_csv(path: Path, fields: Mapping[str, str]) -> VectorFile:
    """Rows under a header; a vector is one cell."""
    reader = _Reader(path.name, fields)
    with closing(Csv(_open(path), _AnyColumns())) as rows:
        for number, record in rows:
            reader.add(number, record)
    return reader.finish()


class _AnyColumns(Columns):
    """A file of vectors needs no abstracts."""

    def missing(self, names: object) -> None:
        return None


class _Reader:
    """Takes records one by one."""

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        self._name = name
        self._fields = fields
        self._collector = Collector(name)
        self._chosen: Chosen | None = None
        self._model: str | None = None
        self._recipe: dict[str, Any] = {}

    @property
    def is_begun(self) -> bool:
        return self._chosen is not None

    def add(self, number: int, record: Record) -> None:
        """Take the record of line `number`."""
        if self._chosen is None:
            self._chosen = choose(
                self._name, list(record), self._fields, first=record.get, is_vector=lambda name: _is_list(record[name])
            )
            recipe = plain(record.get("recipe"))
            self._recipe = recipe if isinstance(recipe, dict) else {}
        place = f"{self._name}, line {number}"
        self._note_model(place, plain(record.get("model")))
        add_value(self._collector, number, plain(record.get(self._chosen.id)), record.get(self._chosen.vector))

    def _note_model(self, place: str, model: object) -> None:
        if isinstance(model, str) and model:
            if self._model not in (None, model):
                raise SpaceError(f"{place}: expected vectors of one model, found {model!r} behind {self._model!r}")
            self._model = model

    def finish(self) -> VectorFile:
        """All that was taken."""
        return self._collector.as_file(self._model, self._recipe)


def _open(path: Path) -> Stream:
    return Stream(path.open("rb"), name=path.name, size=path.stat().st_size)


def _objects(stream: Stream) -> Iterator[tuple[int, Record]]:
    """(line, record) of each object; its values are JSON still, so that only those which are needed are decoded."""
    for number, line in stream.lines():
        if line.isspace():
            continue
        try:
            record: Record = _raw.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            record = _with_nan(line) or _refuse(stream.name, number, line, error)
        yield number, record


def _with_nan(line: bytes) -> Record | None:
    """NaN is no JSON, but Python writes it, mostly for a DOI that is missing; None for what is broken otherwise."""
    if not any(word in line for word in (b"NaN", b"Infinity")):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _refuse(name: str, number: int, line: bytes, error: Exception) -> NoReturn:
    place = f"{name}, line {number}"
    if number == 1 and line.lstrip().startswith(b"["):
        raise SpaceError(
            f"{place}: expected JSON Lines, one object a line, found a JSON array; convert it with: jq -c '.[]'"
        ) from None
    if isinstance(error, msgspec.ValidationError):
        raise SpaceError(f"{place}: expected a JSON object, found another value ({error})") from None
    reason = "bytes that are not UTF-8" if isinstance(error, UnicodeDecodeError) else f"broken JSON ({error})"
    cut = "" if line.endswith(b"\n") else "; the file may have been cut"
    raise SpaceError(f"{place}: expected a JSON object, found {reason}{cut}") from None


def _is_list(value: object) -> bool:
    start = bytes(value) if isinstance(value, msgspec.Raw) else value
    return start.lstrip()[:1] in (b"[", "[") if isinstance(start, (bytes, str)) else isinstance(start, list)
