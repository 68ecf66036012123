"""Vectors in shards: plain .npy files of consecutive rows, memory-mapped, never pickled."""

from __future__ import annotations

import hashlib
import io
import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.scores import Float32, Rows, unit_rows
from embedsearch.store.atomic import write_bytes
from embedsearch.store.manifest import REPAIR, FileEntry, Shard
from embedsearch.transform import Transform

SHARD_ROWS = 4096


def _most_maps() -> int:
    """A quarter of the files that this process may have open, since each map keeps one, and 256 at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if soft == resource.RLIM_INFINITY else max(1, min(256, soft // 4))


MAX_OPEN_MAPS = _most_maps()
"""Of a state of a store: while another takes its place there are two."""


def write_shard(folder: Path, *, number: int, vectors: Float32, dtype: str) -> FileEntry:
    """Store unit rows (n, d) float32 as the shard of this number."""
    file, data = shard_file(number=number, vectors=vectors, dtype=dtype)
    write_bytes(folder / file.name, data)
    return file


def shard_file(*, number: int, vectors: Float32, dtype: str) -> tuple[FileEntry, bytes]:
    """The file that a shard of unit rows (n, d) float32 is stored in, and its bytes."""
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(dtype), allow_pickle=False)
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
        self._maps: OrderedDict[int, NDArray[np.floating]] = OrderedDict()
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
        """Vectors of `rows` (m,), each of which must have one: (m, dim) float32 in the same order."""
        out = np.empty((len(rows), self.dim), np.float32)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._ready(self._map(int(number))[rows[here] - self._starts[number]])
        return out

    def blocks(self) -> Iterator[tuple[int, Float32]]:
        """(first row, (n, dim) float32) for each shard, in order of rows: what does not fit is read so."""
        for number, first in enumerate(self._starts):
            yield int(first), self._ready(self._map(number))

    def open_all(self) -> None:
        """Map all files, as many as are kept open: no vector is read."""
        for number in range(min(len(self._shards), MAX_OPEN_MAPS)):
            self._map(number)

    def _ready(self, stored: NDArray[np.floating]) -> Float32:
        rows = unit_rows(stored)  # float16 has moved the lengths by up to 1e-3
        return self.transform.apply(rows) if self.transform else rows

    def _map(self, number: int) -> NDArray[np.floating]:
        with self._lock:
            if number in self._maps:
                self._maps.move_to_end(number)
                return self._maps[number]
            self._maps[number] = opened = open_shard(self._folder, self._shards[number], dim=self._stored_dim)
            if len(self._maps) > MAX_OPEN_MAPS:
                self._maps.popitem(last=False)
            return opened


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
