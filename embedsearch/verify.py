"""Is a store whole? Every byte is read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embedsearch import transform
from embedsearch.errors import StoreCorrupt
from embedsearch.keywords import Keywords
from embedsearch.scores import TOLERANCE
from embedsearch.store.atomic import file_hash
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import FileEntry, Generation
from embedsearch.store.manifest import read_manifest
from embedsearch.store.vectors import open_shard


def verify_store(path: str | Path) -> Iterator[str]:
    """Yield one line for each thing that is wrong with the store at `path`; none if it is whole.

    The manifest against its own checksum, every file of every generation against its hash, every vector finite and of
    unit length, ids unique, rows of papers, vectors, keywords and ann aligned. Raises StoreNotFound or StoreTooNew.
    """
    folder = Path(path)
    try:
        manifest = read_manifest(folder, check_files=False)
    except StoreCorrupt as error:
        yield str(error)
        return
    seen: dict[str, list[str]] = {}
    for generation in manifest.generations():
        broken = False
        for entry in generation.files():
            if entry.name not in seen:
                seen[entry.name] = list(_file(folder, entry))
                yield from seen[entry.name]
            broken |= bool(seen[entry.name])
        if not broken:  # what is not the file that was written need not be looked into
            yield from _contents(folder, generation)


def _file(folder: Path, entry: FileEntry) -> Iterator[str]:
    path = folder / entry.name
    try:
        size, digest = path.stat().st_size, file_hash(path)
    except OSError as error:
        yield f"{entry.name}: expected a file, found: {error.strerror}"
        return
    if size != entry.size:
        yield f"{entry.name}: expected {entry.size:,} bytes, found {size:,}"
    elif digest != entry.sha256:
        yield f"{entry.name}: expected SHA-256 {entry.sha256[:12]}..., found {digest[:12]}..."


def _contents(folder: Path, generation: Generation) -> Iterator[str]:
    try:
        yield from _papers(folder, generation)
        yield from _vectors(folder, generation)
        n_words = len(Keywords((folder / generation.keywords[0].name).parent))
        if n_words != generation.n_papers:
            yield f"keywords: expected {generation.n_papers:,} papers, found {n_words:,}"
        if generation.transform_file:
            transform.load(folder / generation.transform_file.name)
        if generation.ann and importlib.util.find_spec("faiss"):
            from embedsearch.ann import faiss_index  # here: a store is verified without FAISS as well

            n_ann = len(faiss_index.load(folder / generation.ann.file.name, generation.ann))
            if n_ann != generation.n_rows:
                yield f"{generation.ann.file.name}: expected {generation.n_rows:,} vectors, found {n_ann:,}"
    except StoreCorrupt as error:
        yield str(error)


def _papers(folder: Path, generation: Generation) -> Iterator[str]:
    name, n, seen = generation.papers.name, 0, set[str]()
    catalogue = Catalogue(folder / name)
    if catalogue.n_rows != generation.n_rows:
        yield f"{name}: expected {generation.n_rows:,} rows, found {catalogue.n_rows:,}"
        return
    for row, id, _ in catalogue.checksums():
        if not generation.n_dead and row != n:
            yield f"{name}: expected row {n}, found {row}"
            return
        if id in seen:
            yield f"{name}: expected each id once, found {id} again in row {row}"
        seen.add(id)
        n += 1
    if n != generation.n_papers:
        yield f"{name}: expected {generation.n_papers:,} papers, found {n:,}"
    if catalogue.checksum() != generation.corpus.checksum:
        yield f"{name}: expected the ids and texts that were read, found others"


def _vectors(folder: Path, generation: Generation) -> Iterator[str]:
    expected = 0
    for shard in sorted(generation.shards, key=lambda shard: shard.first_row):
        if generation.complete and shard.first_row != expected:
            yield f"{shard.file.name}: expected row {expected} first, found {shard.first_row}"
        expected = shard.first_row + shard.n_rows
        rows = open_shard(folder, shard, dim=generation.dim or 0).astype(np.float64)
        lengths = np.sqrt((rows * rows).sum(axis=1))
        # NaN compares false, so that what is not finite is found too
        wrong = np.flatnonzero(~(abs(lengths - 1) <= TOLERANCE[generation.dtype]))
        for row in wrong[:3]:
            yield f"{shard.file.name}: expected length 1 in row {shard.first_row + row}, found {lengths[row]:.4g}"
    if generation.complete and expected != generation.n_rows:
        yield f"vectors: expected {generation.n_rows:,} rows, found {expected:,}"
