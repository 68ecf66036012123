"""manifest.json: the only state of a store, and its single commit point.

A store holds up to three generations: the one that is served, one that is being built to replace it, and the one
before. A file exists for the store when one of them names it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from embedsearch.errors import StoreCorrupt, StoreError, StoreNotFound, StoreTooNew
from embedsearch.store.atomic import file_hash, write_bytes
from embedsearch.store.generation import FileEntry, Generation

MANIFEST_NAME = "manifest.json"
FORMAT = 1
REPAIR = "see `embedsearch verify`, then build again with --overwrite"
UPDATES = "updates"
"""Needed where rows were added to a store after it was built, or are dead."""
FEATURES: frozenset[str] = frozenset({UPDATES})
"""What this version can read beyond format 1."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a store's history: generation `number` was served from then (UTC) on, with so many papers."""

    number: int
    at: str
    by: str
    n_papers: int
    what: str
    n_new: int = 0
    n_changed: int = 0
    n_renewed: int = 0
    n_removed: int = 0
    source: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of manifest.json. `checksum` is SHA-256 over the document with `checksum` empty."""

    format: int = FORMAT
    features: list[str] = []
    made_by: str = ""
    checksum: str = ""
    serving: Generation
    building: Generation | None = None
    previous: Generation | None = None
    history: list[Event] = []

    def generations(self) -> list[Generation]:
        """Those that are there."""
        return [g for g in (self.serving, self.building, self.previous) if g is not None]

    @property
    def pending(self) -> Generation | None:
        """The generation that a build has yet to finish."""
        return self.building or (None if self.serving.complete else self.serving)


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(folder: Path, path: Path) -> FileEntry:
    """The entry of a file under the store's folder, as it lies there."""
    return FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, file_hash(path))


def commit(folder: Path, manifest: Manifest) -> Manifest:
    """Make `manifest` the state of the store: from the moment this returns, a crash cannot undo it."""
    updated = any(each.papers_base or each.n_dead or each.starts != [0] for each in manifest.generations())
    blank = msgspec.structs.replace(manifest, format=FORMAT, features=[UPDATES] if updated else [], checksum="")
    sealed = msgspec.structs.replace(blank, checksum=_checksum(_encode(blank)))
    write_bytes(folder / MANIFEST_NAME, _encode(sealed))
    return sealed


def read_manifest(folder: Path, *, check_files: bool = True) -> Manifest:
    """The state of the store at `folder`; all that it serves is there and has the right size, unless told not to look.

    Raises StoreNotFound, StoreTooNew, or StoreCorrupt with the name of the file.
    """
    path = folder / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            f"expected an index at {folder}, found none; make one with: {build_command(folder)}"
        ) from None
    except OSError as error:
        raise StoreError(f"expected to read {path}, found: {error.strerror}") from error
    manifest = _decode(path, data)
    if check_files:
        check_sizes(folder, manifest.serving)
    return manifest


def check_sizes(folder: Path, generation: Generation, *, repair: str = REPAIR) -> None:
    """Raise StoreCorrupt for the first file that is missing or has another size than the manifest says.

    `repair` is what to do about it.
    """
    for entry in generation.files():
        try:
            found = os.stat(folder / entry.name).st_size
        except OSError:
            raise StoreCorrupt(f"expected {folder / entry.name}, found no such file; {repair}") from None
        if found != entry.size:
            raise StoreCorrupt(
                f"expected {entry.size} bytes in {folder / entry.name}, found {found}: it was cut or changed; {repair}"
            )


def check_hash(folder: Path, entry: FileEntry) -> None:
    """Raise StoreCorrupt for a file that is not the one that was written, StoreError for one that cannot be read."""
    path = folder / entry.name
    try:
        found = file_hash(path)
    except FileNotFoundError:
        raise StoreCorrupt(f"expected {path}, found no such file; {REPAIR}") from None
    except OSError as error:
        raise StoreError(f"expected to read {path}, found: {error.strerror}") from error
    if found != entry.sha256:
        raise StoreCorrupt(f"expected {path} as it was written, found other bytes; {REPAIR}")


def build_command(folder: Path) -> str:
    """What to type to make the store at `folder`, or to finish it."""
    return f"embedsearch build-index --index {shlex.quote(str(folder))}"


def rollback_command(folder: Path) -> str:
    """What to type to give up what is being built at `folder`, or what was changed last."""
    return f"embedsearch rollback --index {shlex.quote(str(folder))}"


def _encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def _checksum(blank: bytes) -> str:
    return hashlib.sha256(blank).hexdigest()


def _decode(path: Path, data: bytes) -> Manifest:
    """Format and features first, on untyped JSON: a later format may have any shape. Unknown keys are ignored."""
    try:
        document = msgspec.json.decode(data)
        version, features = document["format"], document.get("features", [])
        stated = document["checksum"]
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        raise StoreCorrupt(f"expected a manifest in {path}, found {len(data)} bytes that are none; {REPAIR}") from None
    unknown = sorted(set(features) - FEATURES) if isinstance(features, list) else [str(features)]
    if version != FORMAT or unknown:
        needs = f"format {version}" if version != FORMAT else f"the features {', '.join(unknown)}"
        raise StoreTooNew(f"expected an index of format {FORMAT} in {path.parent}, found {needs}: update embedsearch")
    # Over the document as it stands, keys that this version does not know included.
    blank = msgspec.json.format(msgspec.json.encode(document | {"checksum": ""}), indent=1)
    if _checksum(blank) != stated:
        raise StoreCorrupt(f"expected {path} to match its own checksum, found that it was changed; {REPAIR}")
    try:
        return msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise StoreCorrupt(f"expected a manifest in {path}, found: {error}; {REPAIR}") from error
