"""What was done to a store, and when."""

from __future__ import annotations

from pathlib import Path

from embedsearch.store.manifest import Event, read_manifest
from embedsearch.store.writer import events_of


def history(folder: str | Path) -> tuple[Event, ...]:
    """Every generation that the store at `folder` served, oldest first, and what it went back to.

    Of a store that was made before there was a history, the generations that are left. Raises StoreNotFound,
    StoreCorrupt or StoreTooNew.
    """
    return events_of(read_manifest(Path(folder), check_files=False))
