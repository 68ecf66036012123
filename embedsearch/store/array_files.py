"""Vectors from NumPy's files. Nothing is ever unpickled."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import BadVector, SpaceError
from embedsearch.store.arrays import MappedVectors, VectorFile, check_shape, collect, normal_text
from embedsearch.store.vector_columns import choose

BESIDE = ("{}.ids.json", "{}.ids.txt", "{}.ids.npy", "{}_ids.json", "{}_ids.txt", "{}_ids.npy")
"""Where the ids of X.npy are looked for, {} being X: the first that is there."""

_CHECKED_ROWS = 4096
_PICKLED = "found pickled objects, which are never loaded: save ids as np.array(ids, dtype=str), numbers as float32"


def read_npz(path: Path, fields: Mapping[str, str]) -> VectorFile:
    """Two of the arrays in an archive; beside them `model` and `recipe` are read, where they are texts."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise SpaceError(f"{path.name}: expected an archive of arrays (np.savez), found a single one")
            chosen = choose(
                path.name,
                arrays.files,
                fields,
                first=lambda name: next(iter(arrays[name].ravel().tolist()), None),
                is_vector=lambda name: arrays[name].ndim == 2,
            )
            collector = collect(path.name, _ids(path.name, arrays[chosen.id]), arrays[chosen.vector])
            model, recipe = (_text(arrays, name) for name in ("model", "recipe"))
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    return collector.as_file(model, recipe_of(recipe))


def read_npy(path: Path) -> VectorFile:
    """An array (n, d) that stays in its file, with the ids in a file beside it: see BESIDE."""
    ids, model, recipe = _ids_beside(path)
    try:
        array = check_shape(np.load(path, mmap_mode="r", allow_pickle=False), path.name)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    if len(ids) != len(array):
        raise SpaceError(f"{path.name}: expected an id for each of {len(array):,} vectors, found {len(ids):,} ids")
    normal = [normal_text(id, f"{path.name}, row {row}") for row, id in enumerate(ids, 1)]
    _check_values(path.name, normal, array)
    rows = _once(path.name, normal, array)
    return VectorFile(
        ids=[normal[row] for row in rows],
        vectors=MappedVectors(array, None if len(rows) == len(array) else rows),
        model_name=model,
        recipe=recipe,
        n_repeated=len(array) - len(rows),
    )


# A file that was cut is found by the archive, by its compression, or by NumPy, which also refuses objects so.
_BROKEN = (ValueError, EOFError, KeyError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def _unreadable(path: Path, error: Exception) -> Exception:
    if isinstance(error, (SpaceError, BadVector, PermissionError)):
        return error
    text = " ".join(str(error).split())[:150]
    if "allow_pickle" in text or "Python objects" in text:
        # NumPy takes whatever it does not know for a pickle.
        known = (b"PK\x03\x04", b"\x93NUM")
        with path.open("rb") as file:
            is_array = file.read(4) in known
        return SpaceError(f"{path.name}: expected arrays, {_PICKLED if is_array else 'found a file of another kind'}")
    return SpaceError(f"{path.name}: expected whole arrays, found that the file is cut or broken ({text})")


def _ids(name: str, array: NDArray[Any]) -> Sequence[object]:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        hint = (
            ": as a number the id 0704.0010 loses its zeros; write the ids as text" if array.dtype.kind == "f" else ""
        )
        raise SpaceError(f"{name}: expected ids as an array of texts, found {array.dtype} {array.shape}{hint}")
    ids: list[object] = array.tolist()
    return ids


def _text(arrays: Any, name: str) -> str | None:
    if name not in arrays.files:
        return None
    array = arrays[name]
    return str(array) if array.ndim == 0 and array.dtype.kind == "U" else None


def recipe_of(text: str | bytes | None) -> dict[str, Any]:
    """The recipe that a file notes as JSON; empty where it notes none, or something else by that name."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _ids_beside(path: Path) -> tuple[Sequence[object], str | None, dict[str, Any]]:
    """(ids, model, recipe) of an array's file."""
    names = [pattern.format(path.stem) for pattern in BESIDE]
    beside = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if beside is None:
        raise SpaceError(f"{path.name}: expected its ids in a file beside it ({', '.join(names)}), found none of them")
    if beside.suffix == ".npy":
        try:
            return _ids(beside.name, np.load(beside, allow_pickle=False)), None, {}
        except _BROKEN as error:
            raise _unreadable(beside, error) from None
    try:
        text = beside.read_text(encoding="utf-8-sig")
        if beside.suffix == ".txt":
            return text.splitlines(), None, {}
        found = msgspec.json.decode(text, type=list[str | int] | _Beside)
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise SpaceError(f"{beside.name}: expected a list of ids, found: {error}") from None
    return (found.ids, found.model, found.recipe) if isinstance(found, _Beside) else (found, None, {})


class _Beside(msgspec.Struct):
    """What `write_space` writes beside an array."""

    ids: list[str | int]
    model: str | None = None
    recipe: dict[str, Any] = {}


def _check_values(name: str, ids: Sequence[str], array: NDArray[Any]) -> None:
    for first in range(0, len(array), _CHECKED_ROWS):
        block = np.asarray(array[first : first + _CHECKED_ROWS])
        bad = ~(np.isfinite(block).all(axis=1) & block.any(axis=1))
        if bad.any():
            row = first + int(np.flatnonzero(bad)[0])
            found = "zero" if not array[row].any() else "NaN or infinity"
            raise BadVector(
                f"{name}, row {row + 1}, paper {ids[row]}: expected a finite vector that is not zero, found {found}",
                position=row,
            )


def _once(name: str, ids: Sequence[str], array: NDArray[Any]) -> NDArray[np.int64]:
    """The rows to take, so that each id comes once."""
    seen: dict[str, int] = {}
    for row, id in enumerate(ids):
        before = seen.setdefault(id, row)
        if before != row and not np.array_equal(array[before], array[row]):
            raise SpaceError(
                f"{name}, row {row + 1}, paper {id}: expected one vector of each paper, row {before + 1} has another"
            )
    return np.fromiter(seen.values(), np.int64, len(seen))
