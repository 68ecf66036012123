"""Vectors from what OpenAI's Batch API writes: an answer, or an error, a line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import msgspec

from embedsearch.errors import SpaceError
from embedsearch.store.arrays import Collector, VectorFile
from embedsearch.store.vector_columns import broken_values, plain, row_of

log = logging.getLogger("embedsearch")

Record = Mapping[str, object]
"""Values are JSON still (msgspec.Raw), or as Python has them."""


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    data: list[_Embedding] = []
    model: str | None = None


def is_answer(record: Record) -> bool:
    """Whether a record is a line of such a file."""
    return "custom_id" in record and "response" in record


def read_batch(name: str, number: int, record: Record, others: Iterator[tuple[int, Record]]) -> VectorFile:
    """The answers, from the first `record` in line `number` on; requests that failed are counted in a warning.

    Raises SpaceError where all failed, and for answers of several models.
    """
    collector, models, failed = Collector(name), dict[str, None](), list[str]()
    while True:
        place = f"{name}, line {number}"
        with broken_values(place):
            id, body = plain(record.get("custom_id")), _body(place, record)
        if isinstance(body, str):
            failed.append(f"line {number}, {id}: {body}")
        elif len(body.data) != 1:
            found = f"found {len(body.data)}: a custom_id can stand for one paper only"
            raise SpaceError(f"{place}, paper {id}: expected one embedding, {found}")
        else:
            models |= {body.model: None} if body.model else {}
            add_value(collector, number, id, body.data[0].embedding)
        if (following := next(others, None)) is None:
            break
        number, record = following
    if len(models) > 1:
        raise SpaceError(f"{name}: expected vectors of one model, found {', '.join(models)}")
    if not collector.ids:
        raise SpaceError(f"{name}: expected answers with vectors, found that every request failed: {failed[0]}")
    if failed:
        log.warning("%s: %s requests failed and have no vector: %s", name, f"{len(failed):,}", _some(failed))
    return collector.as_file(next(iter(models), None), {})


def add_value(collector: Collector, number: int, id: object, value: object, *, unit: str = "line") -> None:
    """Take the vector that a cell of a line (or row) holds. Raises SpaceError or BadVector."""
    try:
        row = row_of(value)
    except ValueError as error:
        raise SpaceError(
            f"{collector.name}, {unit} {number}, paper {id or '(none)'}: expected a list of numbers, {error}"
        ) from None
    collector.add([id], row[None], lambda _: f"{unit} {number}")


def _body(place: str, record: Record) -> _Body | str:
    """What a line answers, or why it does not."""
    error = plain(record.get("error"))
    if error:
        return _message(error)
    response = record.get("response")
    try:
        if not isinstance(response, msgspec.Raw):
            response = msgspec.json.encode(response)
        found = msgspec.json.decode(response, type=_Response | None)
        if found is None:
            return "no response"
        if found.status_code != 200:
            body = plain(found.body)
            return (
                f"status {found.status_code}, {_message(body.get('error', body) if isinstance(body, dict) else body)}"
            )
        return msgspec.json.decode(found.body, type=_Body)
    except msgspec.DecodeError as wrong:
        raise SpaceError(f"{place}: expected an answer of the Batch API, found: {wrong}") from None


def _message(error: object) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:150]


def _some(failed: list[str]) -> str:
    return "; ".join(failed[:3]) + ("; ..." if len(failed) > 3 else "")
