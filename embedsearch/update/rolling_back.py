"""Back to the generation before."""

from __future__ import annotations

from pathlib import Path

from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import Event, read_manifest
from embedsearch.store.writer import StoreWriter


def rollback(index: str | Path) -> Event:
    """Serve the previous generation of the store at `index` again, whole as it was; returns what history says of it.

    Where a generation is being built, that is given up, and what is served stays. Only one generation is kept, so that
    this can be done once. Raises StoreNotFound, StoreLocked, StoreError where there is no other generation,
    StoreCorrupt where it is not whole.
    """
    folder = Path(index)
    read_manifest(folder, check_files=False)  # before the lock would make a folder
    with writer_lock(folder):
        writer = StoreWriter(folder, replace=True)
        writer.manifest = read_manifest(folder, check_files=False)  # with what is being built, which may be broken
        return writer.roll_back()
