"""Vectors in shards: plain .npy files of consecutive rows, memory-mapped, never pickled."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.scores import Float32, Rows, unit_rows
from embedsearch.store.atomic import write_bytes
from embedsearch.store.generation import FileEntry, Shard
from embedsearch.store.manifest import REPAIR
from embedsearch.store.mapping import Places, most_maps
from embedsearch.transform import Transform

SHARD_ROWS = 4096

MOST_MAPPED = most_maps() // 2
"""Files that one store has mapped at a time; the rest is for the program's own maps, and for another store's."""


def write_shard(folder: Path, *, number: int, vectors: Float32, dtype: str) -> FileEntry:
    """Store unit rows (n, d) float32 as the shard of this number."""
    file, data = shard_file(number=number, vectors=vectors, dtype=dtype)
    write_bytes(folder / file.name, data)
    return file


def shard_file(*, number: int, vectors: Float32, dtype: str) -> tuple[FileEntry, bytes]:
    """The file that a shard of unit rows (n, d) float32 is stored in, and its bytes."""
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(dtype, order="C"), allow_pickle=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    return FileEntry(shard_name(number, digest), len(data), digest), data


def shard_name(number: int, sha256: str) -> str:
    """Where the shard of this number lies in a store: its name holds the hash of its bytes."""
    return f"vectors/{number:06d}-{sha256[:16]}.npy"


class ShardedVectors:
    """The vectors of a store by row: float32, of unit length, the transform applied.

    Rows whose shard is not built yet are not there: see `n_rows` and `has`. Thread-safe.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], *, dim: int, transform: Transform | None) -> None:
        self._folder = folder
        self._shards = sorted(shards, key=lambda shard: shard.first_row)
        self._starts = np.array([shard.first_row for shard in self._shards], np.int64)
        self._ends = self._starts + np.array([shard.n_rows for shard in self._shards], np.int64)
        self._stored_dim = dim
        self.transform = transform
        self._maps: _Maps | None = None
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        """Rows that have a vector."""
        return int((self._ends - self._starts).sum())

    @property
    def dim(self) -> int:
        """Length of a vector as it is given out."""
        return self.transform.dim if self.transform else self._stored_dim

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of `rows` (m,) have a vector: (m,) bool."""
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        return (
            (shard >= 0) & (rows < self._ends[np.maximum(shard, 0)]) if len(self._starts) else np.zeros(len(rows), bool)
        )

    def rows(self, rows: Rows) -> Float32:
        """Vectors of `rows` (m,): (m, dim) float32 in the same order. Raises IndexError if one has none."""
        if not len(rows):
            return np.empty((0, self.dim), np.float32)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        if shard.min() < 0 or (rows >= self._ends[shard]).any():
            raise IndexError(f"expected rows that have a vector, of {self.n_rows:,}, found others")
        within = rows - self._starts[shard]
        if len(self._shards) <= MOST_MAPPED:
            return self._ready(self._mapped(shard)[shard, within])
        parts = [np.flatnonzero(shard // MOST_MAPPED == part) for part in np.unique(shard // MOST_MAPPED)]
        stored = np.concatenate([self._mapped(shard[part])[shard[part], within[part]] for part in parts])
        return self._ready(stored[np.argsort(np.concatenate(parts))])

    def blocks(self, *, begin: int = 0) -> Iterator[tuple[int, Float32]]:
        """(first row, (n, dim) float32) for each shard, in order of rows: what does not fit is read so.

        Only those that begin at row `begin` or behind it.
        """
        for number, (first, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if first < begin:
                continue
            yield int(first), self._ready(self._mapped(np.array([number]))[number, : end - first])

    def open_all(self) -> None:
        """Map all files, or as many as may be: no vector is read."""
        if self._shards:
            self._mapped(np.arange(min(len(self._shards), MOST_MAPPED)))

    def _ready(self, stored: NDArray[np.floating]) -> Float32:
        rows = unit_rows(stored)  # float16 has moved the lengths by up to 1e-3
        return self.transform.apply(rows) if self.transform else rows

    def _mapped(self, shards: NDArray[np.int64]) -> NDArray[np.floating]:
        """(n_shards, rows of the largest, d), in which those of these numbers may be read."""
        with self._lock:
            if self._maps is None or not self._maps.has_room(shards):
                # Those who read in the old ones hold them until they are done.
                self._maps = _Maps(self._folder, self._shards, dim=self._stored_dim)
            return self._maps.having(shards)


class _Maps:
    """The files of all shards as one array, mapped when they are needed. All are written alike, most with equal rows.

    A file that another program wrote, column by column, say, is read into memory. Not thread-safe.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], *, dim: int) -> None:
        self._folder, self._shards, self._dim = folder, shards, dim
        self._dtype = open_shard(folder, shards[0], dim=dim).dtype
        self._row = dim * self._dtype.itemsize
        self._offset = len(self._header(shards[0]))
        most = max(shard.n_rows for shard in shards)
        with _naming(folder / "vectors"):
            self._places = Places(len(shards), self._offset + most * self._row)
        self._is_there = np.zeros(len(shards), bool)
        self._n_there = 0
        self._array: NDArray[np.floating] = np.ndarray(
            (len(shards), most, dim),
            self._dtype,
            buffer=self._places.all_bytes(),
            offset=self._offset,
            strides=(self._places.stride, self._row, self._dtype.itemsize),
        )

    def has_room(self, shards: NDArray[np.int64]) -> bool:
        """Whether these can be mapped beside those that are."""
        if len(self._shards) <= MOST_MAPPED:
            return True
        new = np.unique(shards[~self._is_there[shards]])
        return not len(new) or self._n_there + len(new) <= MOST_MAPPED

    def having(self, shards: NDArray[np.int64]) -> NDArray[np.floating]:
        """The whole array; these may be read."""
        if not (is_there := self._is_there[shards]).all():
            for number in np.unique(shards[~is_there]).tolist():
                self._put(number)
                self._is_there[number] = True
                self._n_there += 1
        return self._array

    def _put(self, number: int) -> None:
        shard = self._shards[number]
        path, header = self._folder / shard.file.name, self._header(shard)
        size = len(header) + shard.n_rows * self._row
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                is_usual = os.pread(file, len(header), 0) == header and os.fstat(file).st_size >= size
                if is_usual and len(header) == self._offset:
                    with _naming(path):
                        self._places.put_file(number, file, size)
                    return
            finally:
                os.close(file)
        except StoreError:
            raise
        except OSError:
            pass  # what is wrong is said below
        rows = open_shard(self._folder, shard, dim=self._dim)
        if rows.dtype != self._dtype:
            raise StoreCorrupt(f"expected {self._dtype} in {path}, as in the first, found {rows.dtype}; {REPAIR}")
        with _naming(path):
            self._places.put_bytes(number, rows.tobytes(), offset=self._offset)

    def _header(self, shard: Shard) -> bytes:
        return _header(shard.n_rows, self._dim, self._dtype.str)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A refusal to map gets to say of what, and what to do about it."""
    try:
        yield
    except OSError as error:
        more = f"; allow a process more than {most_maps():,} maps (sysctl vm.max_map_count) or more memory (ulimit -v)"
        advice = more if error.errno == errno.ENOMEM else ""
        raise StoreError(f"expected to map {path}, found: {error.strerror}{advice}") from error


@lru_cache(16)
def _header(n_rows: int, dim: int, dtype: str) -> bytes:
    """What np.save puts before so many rows."""
    buffer = io.BytesIO()
    description = {"descr": dtype, "fortran_order": False, "shape": (n_rows, dim)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def open_shard(folder: Path, shard: Shard, *, dim: int) -> NDArray[np.floating]:
    """Map a shard's file: (n, d) float16 or float32, read-only. Raises StoreCorrupt if it is not what it should be."""
    path = folder / shard.file.name
    try:
        array: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise StoreCorrupt(f"expected {path}, found no such file; {REPAIR}") from None
    except OSError as error:
        raise StoreError(f"expected to read {path}, found: {error.strerror}") from error
    except (ValueError, EOFError) as error:
        raise StoreCorrupt(f"expected vectors in {path}, found: {error}; {REPAIR}") from error
    if array.shape != (shard.n_rows, dim) or array.dtype not in (np.float16, np.float32):
        raise StoreCorrupt(
            f"expected {shard.n_rows} vectors of {dim} in {path}, found {array.dtype} {array.shape}; {REPAIR}"
        )
    return array
