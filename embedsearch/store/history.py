"""What was done to a store, and when."""

from __future__ import annotations

from pathlib import Path

import msgspec

from embedsearch.store.manifest import Event, Generation, Manifest, read_manifest
from embedsearch.store.writer import event_of


def history(folder: str | Path) -> tuple[Event, ...]:
    """Every generation that the store at `folder` served, oldest first, and what it went back to.

    Of a store that was made before there was a history, the generations that are left. Raises StoreNotFound,
    StoreCorrupt or StoreTooNew.
    """
    return events_of(read_manifest(Path(folder), check_files=False))


def events_of(manifest: Manifest) -> tuple[Event, ...]:
    """What a manifest says of that."""
    told = {event.number for event in manifest.history}
    first = min(told, default=None)
    before = [
        _remembered(each, manifest)
        for each in (manifest.previous, manifest.serving)
        if each is not None and each.complete and each.number not in told and (first is None or each.number < first)
    ]
    return (*before, *manifest.history)


def _remembered(generation: Generation, manifest: Manifest) -> Event:
    return msgspec.structs.replace(event_of(generation), by=manifest.made_by if not manifest.history else "")
