"""Vectors that are no store's: arrays in memory or in a file, and what a transform makes of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedsearch.corpus import normal_id
from embedsearch.errors import BadVector, NothingInCommon, SpaceError
from embedsearch.scores import Float32, Rows, unit_rows
from embedsearch.transform import Transform

BLOCK_ROWS = 512
"""Rows that are made ready at a time: little beside the vectors themselves, however few of them there are."""


class VectorSource(Protocol):
    """Where a space's vectors come from."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def rows(self, rows: Rows) -> Float32:
        """Vectors of `rows` (m,), in that order: (m, dim) float32, of unit length."""


class ArrayVectors:
    """Rows of unit length in memory: blocks (m, dim) float32, all but the last of one length. Thread-safe."""

    def __init__(self, blocks: Sequence[Float32]) -> None:
        self._blocks = blocks
        self._size = len(blocks[0])

    @property
    def dim(self) -> int:
        return int(self._blocks[0].shape[1])

    def rows(self, rows: Rows) -> Float32:
        if len(self._blocks) == 1:
            return self._blocks[0][rows]
        out = np.empty((len(rows), self.dim), np.float32)
        block = rows // self._size
        order = np.argsort(block, kind="stable")
        ends = np.searchsorted(block[order], np.arange(len(self._blocks)), side="right")
        for number, (start, end) in enumerate(pairwise([0, *ends])):
            here = order[start:end]
            out[here] = self._blocks[number][rows[here] - number * self._size]
        return out


class MappedVectors:
    """Rows of any length and dtype, (n, dim), as a file has them: made float32 of unit length when they are read.

    `only` (m,) are the file's rows that count as rows; None: all of them.
    """

    def __init__(self, array: NDArray[Any], only: Rows | None = None) -> None:
        self._array = array
        self._only = only

    @property
    def dim(self) -> int:
        return int(self._array.shape[1])

    def rows(self, rows: Rows) -> Float32:
        out = np.empty((len(rows), self.dim), np.float32)
        for first in range(0, len(rows), BLOCK_ROWS):  # unit_rows takes float64 of all that it is given
            block = rows[first : first + BLOCK_ROWS]
            out[first : first + BLOCK_ROWS] = unit_rows(self._array[block if self._only is None else self._only[block]])
        return out


class TransformedVectors:
    """The rows of another source, transformed when they are read."""

    def __init__(self, source: VectorSource, transform: Transform) -> None:
        self._source = source
        self._transform = transform

    @property
    def dim(self) -> int:
        return self._transform.dim

    def rows(self, rows: Rows) -> Float32:
        return self._transform.apply(self._source.rows(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFile:
    """What a file holds: normal ids, each once, and their vectors by row.

    `model_name` is None where the file does not say; `recipe` is what `write_space` noted, else empty. `n_repeated`
    counts ids that came again with the same vector.
    """

    ids: list[str]
    vectors: VectorSource
    model_name: str | None = None
    recipe: Mapping[str, Any]
    n_repeated: int = 0


class Collector:
    """Takes vectors as they are read, keeps unit rows. `name` is the file's, for messages.

    An id that comes again with the same vector is passed over and counted in `n_repeated`.
    """

    def __init__(self, name: str) -> None:
        self.ids: list[str] = []
        self.n_repeated = 0
        self.name = name
        self._position: dict[str, int] = {}
        self._blocks: list[Float32] = []

    def add(self, ids: Sequence[object], rows: NDArray[Any], where: Callable[[int], str]) -> None:
        """Take `rows` (m, d), one for each of `ids`; `where(i)` says where the i-th was found.

        Raises SpaceError for another number of dimensions than before, for an empty id and for one that has another
        vector already; BadVector for NaN, infinity and length zero.
        """
        normal = [normal_text(id, f"{self.name}, {where(i)}") for i, id in enumerate(ids)]
        if self._blocks and rows.shape[1] != self._blocks[0].shape[1]:
            raise self._error(
                where(0), normal[0], f"{self._blocks[0].shape[1]} numbers as before, found {rows.shape[1]}"
            )
        if not rows.shape[1]:
            raise self._error(where(0), normal[0], "numbers, found an empty list")
        for first in range(0, len(rows), BLOCK_ROWS):
            block = rows[first : first + BLOCK_ROWS]
            try:
                unit = unit_rows(block)
            except BadVector as error:
                i = first + error.position
                too_far = "numbers that are too large or too small to be squared"
                found = "zero" if not np.any(rows[i]) else too_far if np.isfinite(rows[i]).all() else "NaN or infinity"
                message = f"{self.name}, {where(i)}, paper {normal[i]}: expected a finite vector that is not zero"
                raise BadVector(f"{message}, found {found}", position=len(self.ids)) from None
            for i, row in enumerate(unit, first):
                self._keep(normal[i], row, where(i))

    def as_file(self, model: str | None, recipe: Mapping[str, Any]) -> VectorFile:
        """All that was taken, and what is known of it."""
        vectors = self.finish()
        return VectorFile(ids=self.ids, vectors=vectors, model_name=model, recipe=recipe, n_repeated=self.n_repeated)

    def finish(self) -> ArrayVectors:
        """The vectors that were taken. Raises SpaceError where there are none."""
        if not self.ids:
            raise SpaceError(f"{self.name}: expected vectors, found none")
        self._blocks[-1] = self._blocks[-1][: len(self.ids) - (len(self._blocks) - 1) * BLOCK_ROWS]
        return ArrayVectors(self._blocks)

    def _keep(self, id: str, row: Float32, where: str) -> None:
        position = self._position.setdefault(id, len(self.ids))
        number, i = divmod(position, BLOCK_ROWS)
        if position < len(self.ids):
            if not np.array_equal(self._blocks[number][i], row):
                raise self._error(where, id, "one vector of each paper, found another before")
            self.n_repeated += 1
            return
        if number == len(self._blocks):
            self._blocks.append(np.empty((BLOCK_ROWS, len(row)), np.float32))
        self._blocks[number][i] = row
        self.ids.append(id)

    def _error(self, where: str, id: str, expected: str) -> SpaceError:
        return SpaceError(f"{self.name}, {where}, paper {id}: expected {expected}")


def normal_text(id: object, place: str) -> str:
    """The normal form of an id as a file has it: text, bytes or an integer. Raises SpaceError where there is none."""
    text = id.decode("utf-8", "replace") if isinstance(id, bytes) else str(id)
    if id is None or not text.strip():
        raise SpaceError(f"{place}: expected an id, found none")
    if isinstance(id, float):
        raise SpaceError(
            f"{place}: expected text as an id, found a number: so 0704.0010 loses its zeros; write ids as text"
        )
    if isinstance(id, (bool, list, dict)):
        raise SpaceError(f"{place}: expected text as an id, found a {type(id).__name__}")
    return normal_id(text).id


def collect(name: str, ids: Sequence[object], vectors: ArrayLike) -> Collector:
    """Normal ids and unit rows of `ids` and `vectors` (n, d), copied. Raises as `Space.of` does."""
    try:
        array = check_shape(np.asarray(vectors), name)
    except ValueError as error:  # SpaceError is one, too; numpy's for lists of several lengths is long
        raise error if isinstance(error, SpaceError) else SpaceError(f"{name}: expected rows of one length") from None
    if len(ids) != len(array):
        raise SpaceError(f"{name}: expected an id for each of {len(array):,} vectors, found {len(ids):,} ids")
    collector = Collector(name)
    collector.add(ids, array, lambda i: f"row {i + 1}")
    return collector


def check_shape(array: NDArray[Any], name: str) -> NDArray[Any]:
    """The array itself if it can hold vectors: (n, d) of floating or signed integers. Raises SpaceError."""
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.signedinteger)):
        raise SpaceError(f"{name}: expected vectors of numbers, found the dtype {array.dtype}")
    if array.ndim != 2 or not all(array.shape):
        raise SpaceError(f"{name}: expected vectors as an array (n papers, d numbers), found the shape {array.shape}")
    return array


def nothing_in_common(*sides: tuple[str, Sequence[str]]) -> NothingInCommon:
    """The error for sides (name, ids) that share no id; it shows three of each: mostly they are written in two ways."""
    shown = "; ".join(f"{name} has {', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}" for name, ids in sides)
    return NothingInCommon(f"expected papers in common, found no id that all have: {shown}")
