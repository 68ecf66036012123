"""What a worker hands in: a shard's file and a receipt beside it, in a drop that the committing process reads.

A worker writes to no other place and holds no lock. A receipt is written last, so what it names is whole; it is
believed after the file was read again, and only for the generation that it was made for.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embedsearch.encoders import Encoded
from embedsearch.errors import StoreCorrupt
from embedsearch.scores import unit_rows
from embedsearch.stages.drops import Drop, FolderDrop, open_drop
from embedsearch.stages.embed import shard_of
from embedsearch.store.generation import Generation, Shard
from embedsearch.store.vectors import shard_file, shard_name

LENGTH_TOLERANCE = 2e-3
"""How far from one a stored row's length may be: float16 moves it by 1e-3 at most."""


MOST_OF_RECEIPT = 65_536
MOST_OF_HEADER = 4096
"""Bytes. What is larger is none of ours, and is not read into memory."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A shard that was computed. `made_for` is `identity` of its generation, `checksum` SHA-256 over the rest."""

    made_for: str
    shard: Shard
    checksum: str = ""

    def sealed(self) -> Receipt:
        """The same with its checksum."""
        blank = msgspec.json.encode(msgspec.structs.replace(self, checksum=""))
        return msgspec.structs.replace(self, checksum=hashlib.sha256(blank).hexdigest())

    @property
    def file_name(self) -> str:
        """The name of the shard's file in a drop."""
        return _in_drop(self.shard.file.name)


def drop_folder(folder: Path, generation: Generation) -> Path:
    """Where the shards of a generation are handed in; the writer of the store removes it when all are committed."""
    return folder / f"drop-{generation.number}"


def drop_of(folder: Path, generation: Generation, base: str | None = None) -> Drop:
    """Where the shards of a generation of the store at `folder` are handed in; under `base`, if that is given."""
    if base is None:
        return FolderDrop(drop_folder(folder, generation))
    return open_drop(base, identity(generation)[:16])  # many stores may have the same base


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


def hand_in(drop: Drop, generation: Generation, first: int, encoded: Encoded, made_with: Mapping[str, Any]) -> Receipt:
    """Write the vectors of the shard that begins at row `first`, then its receipt. Raises StoreError."""
    number = generation.shard_number(first)
    file, data = shard_file(number=number, vectors=encoded.vectors, dtype=generation.dtype)
    receipt = Receipt(made_for=identity(generation), shard=shard_of(file, first, encoded, made_with)).sealed()
    drop.put(receipt.file_name, data)
    drop.put(receipt_name(number), msgspec.json.encode(receipt))
    return receipt


def receipt_name(number: int) -> str:
    """The name of the receipt for the shard of this number."""
    return f"{number:06d}.json"


def handed_in(drop: Drop) -> list[str]:
    """The names of the receipts that lie in `drop`, in the order of their shards."""
    return [name for name in drop.names() if name.endswith(".json")]


def read_receipt(drop: Drop, name: str) -> Receipt:
    """Raises StoreCorrupt for what is not whole, FileNotFoundError."""
    try:
        receipt = msgspec.json.decode(drop.get(name, most=MOST_OF_RECEIPT), type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"expected a receipt in {drop}/{name}, found: {error}") from None
    if receipt.sealed() != receipt:
        raise StoreCorrupt(f"expected {drop}/{name} to match its own checksum, found that it was changed")
    return receipt


def check(receipt: Receipt, drop: Drop, generation: Generation, *, dim: int) -> bytes:
    """The bytes of the shard's file, if they are what the receipt and the generation say. Raises StoreCorrupt."""
    shard = receipt.shard
    if receipt.made_for != identity(generation):
        raise StoreCorrupt(
            f"expected a receipt of generation {generation.number}, of its papers and its model, found one of another"
        )
    number = generation.shard_number(shard.first_row)
    n_rows = generation.rows_from(shard.first_row)
    name = shard_name(number, shard.file.sha256)
    if shard.first_row not in generation.first_rows or (shard.n_rows, shard.file.name) != (n_rows, name):
        found = f"{shard.n_rows} in {shard.file.name}"
        raise StoreCorrupt(f"expected shard {number} of {n_rows} rows in {name}, found {found}")
    if not 0 <= shard.n_truncated <= n_rows or shard.n_tokens < 0:
        raise StoreCorrupt(f"expected counts of {n_rows} texts for shard {number}, found others")
    name = _in_drop(name)
    most = n_rows * dim * np.dtype(generation.dtype).itemsize + MOST_OF_HEADER
    try:
        data = drop.get(name, most=most)
    except FileNotFoundError:
        raise StoreCorrupt(f"expected {drop}/{name} beside its receipt, found no such file") from None
    if len(data) != shard.file.size or hashlib.sha256(data).hexdigest() != shard.file.sha256:
        raise StoreCorrupt(f"expected {shard.file.size} bytes of the stated hash in {drop}/{name}, found others")
    _check_rows(f"{drop}/{name}", data, (n_rows, dim), generation.dtype)
    return data


def _in_drop(name: str) -> str:
    """A drop has no folders."""
    return name.removeprefix("vectors/")


def _check_rows(where: str, data: bytes, shape: tuple[int, int], dtype: str) -> None:
    try:
        stream = io.BytesIO(data)
        np.lib.format.read_magic(stream)
        found = np.lib.format.read_array_header_1_0(stream)  # first: memory for what it claims is taken before reading
        if found != (shape, False, np.dtype(dtype)):
            raise StoreCorrupt(f"expected {dtype} {shape} in {where}, found {found[2]} {found[0]}")
        rows = np.load(io.BytesIO(data), allow_pickle=False)
        off = np.abs((rows.astype(np.float32) * unit_rows(rows)).sum(axis=1) - 1).max(initial=0)
    except (ValueError, EOFError) as error:  # BadVector is one
        if isinstance(error, StoreCorrupt):
            raise
        raise StoreCorrupt(f"expected vectors in {where}, found: {error}") from error
    if off > LENGTH_TOLERANCE:
        raise StoreCorrupt(f"expected rows of length one in {where}, found one off by {off:.2g}")
