"""Which columns of a file hold the ids and the vectors, and what a cell of the latter says."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch.corpus import is_arxiv_id, normal_id
from embedsearch.errors import OptionError, SpaceError

log = logging.getLogger("embedsearch")

ID_NAMES = ("id", "_id", "arxiv_id", "paper_id", "custom_id", "doi", "ids")
VECTOR_NAMES = ("embedding", "embeddings", "vector", "vectors", "embed", "emb", "openai")
"""In any case. Of several columns of ids the one that begins with an arXiv id is taken; of several of vectors none."""

_SHOWN = 20
_numbers = msgspec.json.Decoder(list[float])


@dataclass(frozen=True, slots=True)
class Chosen:
    """The names of the two columns."""

    id: str
    vector: str


def check_fields(fields: Mapping[str, str] | None) -> dict[str, str]:
    """`fields` as a dictionary. Raises OptionError for a field that vectors do not have."""
    for name in fields or ():
        if name not in ("id", "embedding"):
            raise OptionError(f"expected a field of a file of vectors (id, embedding), found {name!r}")
    return dict(fields or {})


def choose(
    name: str,
    columns: Sequence[str],
    fields: Mapping[str, str],
    *,
    first: Callable[[str], object],
    is_vector: Callable[[str], bool],
) -> Chosen:
    """The columns of the file `name` to read.

    `first` gives the first value of a column, `is_vector` says whether that looks like a vector. Raises SpaceError,
    which lists the columns and says what to type, where there is no telling.
    """
    usual = [column for column in columns if column.strip().lower() in VECTOR_NAMES]
    vector = _named(name, columns, fields, "embedding", usual)
    if vector is None:
        if len(usual) != 1:
            candidates = usual or [column for column in columns if is_vector(column)] or list(columns)
            raise _unclear(name, "vectors", "embedding", VECTOR_NAMES, candidates)
        vector = usual[0]
    lower = {column.strip().lower(): column for column in reversed(columns)}
    known = [lower[wanted] for wanted in ID_NAMES if wanted in lower and lower[wanted] != vector]
    id = _named(name, columns, fields, "id", known)
    if id is None:
        if not known:
            raise _unclear(name, "ids", "id", ID_NAMES, columns)
        id = next((column for column in known if _is_arxiv(first(column))), known[0])
    return Chosen(id, vector)


def _named(
    name: str, columns: Sequence[str], fields: Mapping[str, str], field: str, usual: Sequence[str]
) -> str | None:
    """The column that the user named for `field`, None where none is."""
    column = fields.get(field)
    if column is None or column in columns:
        return column
    if len(usual) == 1:  # one --field is for all the files of a command, which need not have the same columns
        log.warning("%s has no column %r: its %s is taken from %r", name, column, field, usual[0])
        return usual[0]
    raise SpaceError(f"{name}: expected a column {column!r} ({field}), found {_listed(columns)}")


def _unclear(name: str, what: str, field: str, usual: Sequence[str], found: Sequence[str]) -> SpaceError:
    example = found[0] if found else "COLUMN"
    return SpaceError(
        f"{name}: expected one column of {what} ({', '.join(usual)}), found {_listed(found)}; say which it is with"
        f" --field {field}={example}"
    )


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN:,} more" if len(columns) > _SHOWN else ""
    return (", ".join(columns[:_SHOWN]) or "no columns") + more


def _is_arxiv(value: object) -> bool:
    value = plain(value)
    return isinstance(value, str) and is_arxiv_id(normal_id(value).id)


def plain(value: object) -> object:
    """A value of a record as Python has it."""
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


@contextmanager
def broken_values(place: str) -> Iterator[None]:
    """Turn what `plain` raises into a SpaceError: a record is split into its values before these are read."""
    try:
        yield
    except UnicodeDecodeError:
        raise SpaceError(f"{place}: expected UTF-8, found other bytes") from None
    except msgspec.DecodeError as error:
        raise SpaceError(f"{place}: expected JSON, found a value that cannot be read ({error})") from None


def row_of(value: object) -> NDArray[Any]:
    """The vector (d,) that a cell holds: a list of numbers, the same as JSON text or as NumPy prints it, or float32
    numbers in base64, as OpenAI sends them. Raises ValueError, which says what was found instead."""
    if isinstance(value, msgspec.Raw):
        raw = bytes(value)
        value = raw if raw.lstrip().startswith(b"[") else msgspec.json.decode(raw)
    if isinstance(value, (bytes, str)):
        return _of_text(value.decode() if isinstance(value, bytes) else value.strip())
    if not isinstance(value, list):
        raise ValueError(f"found {'nothing' if value is None else f'a {type(value).__name__}'}")
    wrong = [item for item in value if isinstance(item, bool) or not isinstance(item, (int, float))]
    if wrong:
        raise ValueError(f"found {wrong[0]!r:.40} among them")
    return np.array(value, np.float64)


def _of_text(text: str) -> NDArray[Any]:
    if text.lstrip().startswith("["):
        try:
            return np.array(_numbers.decode(text), np.float64)
        except msgspec.ValidationError as error:
            raise ValueError(f"found other things among them ({error})") from None
        except msgspec.DecodeError:
            return _of_printed(text)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or len(data) % 4:
        raise ValueError(f"found {text[:30]!r}, which is neither a list nor float32 in base64")
    return np.frombuffer(data, "<f4")


def _of_printed(text: str) -> NDArray[Any]:
    """What NumPy prints, and pandas so writes to CSV: `[ 0.1 -0.2 ]`; NaN too, so that it is called by its name."""
    if "..." in text:
        raise ValueError("found a list that NumPy has shortened with ...: most of the numbers are lost")
    try:
        if not text.rstrip().endswith("]"):
            raise ValueError("it has no end")
        return np.array([float(word) for word in re.split(r"[\s,]+", text.strip().strip("[]").strip()) if word])
    except ValueError:
        raise ValueError(f"found a list that is broken: {text[:30]!r}") from None
