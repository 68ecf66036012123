"""What a worker hands in: a shard's file and a receipt beside it, in a folder that the committing process reads.

A worker writes to no other place and holds no lock. A receipt is written last, so what it names is whole; it is
believed after the file was read again, and only for the generation that it was made for.
"""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embedsearch.encoders import Encoded
from embedsearch.errors import StoreCorrupt
from embedsearch.scores import unit_rows
from embedsearch.stages.embed import shard_of
from embedsearch.store.atomic import TEMPORARY_PREFIX, disk_errors, sync
from embedsearch.store.manifest import Generation, Shard
from embedsearch.store.vectors import shard_file, shard_name

LENGTH_TOLERANCE = 2e-3
"""How far from one a stored row's length may be: float16 moves it by 1e-3 at most."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A shard that was computed. `made_for` is `identity` of its generation, `checksum` SHA-256 over the rest."""

    made_for: str
    shard: Shard
    dim: int
    checksum: str = ""

    def sealed(self) -> Receipt:
        """The same with its checksum."""
        blank = msgspec.json.encode(msgspec.structs.replace(self, checksum=""))
        return msgspec.structs.replace(self, checksum=hashlib.sha256(blank).hexdigest())


def drop_folder(folder: Path, generation: Generation) -> Path:
    """Where the shards of a generation are handed in; the writer of the store removes it when all are committed."""
    return folder / f"drop-{generation.number}"


def identity(generation: Generation) -> str:
    """SHA-256 over all that decides the bytes of a shard, and over the number of the generation."""
    what = (
        generation.number,
        generation.created,
        generation.corpus.checksum,
        generation.recipe,
        generation.template,
        generation.dtype,
        generation.shard_rows,
        generation.n_papers,
    )
    return hashlib.sha256(msgspec.json.encode(what, order="sorted")).hexdigest()


def hand_in(drop: Path, generation: Generation, first: int, encoded: Encoded, made_with: Mapping[str, Any]) -> Receipt:
    """Write the vectors of the shard that begins at row `first`, then its receipt. Raises StoreError."""
    number = generation.shard_number(first)
    file, data = shard_file(number=number, vectors=encoded.vectors, dtype=generation.dtype)
    shard = shard_of(file, first, encoded, made_with)
    receipt = Receipt(made_for=identity(generation), shard=shard, dim=encoded.vectors.shape[1]).sealed()
    _put(drop / Path(shard.file.name).name, data)
    _put(drop / f"{number:06d}.json", msgspec.json.encode(receipt))
    return receipt


def handed_in(drop: Path) -> Iterator[Path]:
    """The receipts that lie in `drop`, in the order of their shards."""
    yield from sorted(path for path in drop.glob("*.json") if path.stem.isdigit())


def read_receipt(path: Path) -> Receipt:
    """Raises StoreCorrupt for what is not whole."""
    try:
        receipt = msgspec.json.decode(path.read_bytes(), type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"expected a receipt in {path}, found: {error}") from None
    if receipt.sealed() != receipt:
        raise StoreCorrupt(f"expected {path} to match its own checksum, found that it was changed")
    return receipt


def check(receipt: Receipt, drop: Path, generation: Generation) -> bytes:
    """The bytes of the shard's file, if they are what the receipt and the generation say. Raises StoreCorrupt."""
    shard = receipt.shard
    if receipt.made_for != identity(generation):
        raise StoreCorrupt(
            f"expected a receipt of generation {generation.number}, of its papers and its model, found one of another"
        )
    number = generation.shard_number(shard.first_row)
    n_rows = min(generation.shard_rows, generation.n_papers - shard.first_row)
    name = shard_name(number, shard.file.sha256)
    if shard.first_row not in generation.first_rows or (shard.n_rows, shard.file.name) != (n_rows, name):
        raise StoreCorrupt(f"expected shard {number} of {n_rows} rows in {name}, found {shard.file.name}")
    path = drop / Path(name).name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreCorrupt(f"expected {path} beside its receipt, found no such file") from None
    if len(data) != shard.file.size or hashlib.sha256(data).hexdigest() != shard.file.sha256:
        raise StoreCorrupt(f"expected {shard.file.size} bytes of the stated hash in {path}, found others")
    _check_rows(path, data, (n_rows, generation.dim or receipt.dim), generation.dtype)
    return data


def _check_rows(path: Path, data: bytes, shape: tuple[int, int], dtype: str) -> None:
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
        if rows.shape != shape or rows.dtype != dtype:
            raise StoreCorrupt(f"expected {dtype} {shape} in {path}, found {rows.dtype} {rows.shape}")
        off = np.abs((rows.astype(np.float32) * unit_rows(rows)).sum(axis=1) - 1).max(initial=0)
    except (ValueError, EOFError) as error:  # BadVector is one
        if isinstance(error, StoreCorrupt):
            raise
        raise StoreCorrupt(f"expected vectors in {path}, found: {error}") from error
    if off > LENGTH_TOLERANCE:
        raise StoreCorrupt(f"expected rows of length one in {path}, found one off by {off:.2g}")


def _put(path: Path, data: bytes) -> None:
    """Replace `path`, which another worker may be writing at the same time: each under a name of its own first."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    with disk_errors(path):
        try:
            temporary.write_bytes(data)
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
