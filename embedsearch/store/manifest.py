"""manifest.json: the only state of a store, and its single commit point.

A store holds up to three generations: the one that is served, one that is being built to replace it, and the one
before. A file exists for the store when one of them names it.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from embedsearch.errors import StoreCorrupt, StoreError, StoreNotFound, StoreTooNew
from embedsearch.store.atomic import file_hash, write_bytes

MANIFEST_NAME = "manifest.json"
FORMAT = 1
REPAIR = "see `embedsearch verify`, then build again with --overwrite"
GIVEN_VECTORS = "vectors:"
"""What stands for weights in the recipe of vectors that came without one, before their hash."""
UPDATES = "updates"
"""Needed where rows were added to a store after it was built, or are dead."""
FEATURES: frozenset[str] = frozenset({UPDATES})
"""What this version can read beyond format 1."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the store: its path under the store's folder, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Shard(msgspec.Struct, frozen=True):
    """The vectors of consecutive rows, and what it took to make them.

    Where `compact` put together parts of several, tokens and cut texts are counted in proportion to their rows.
    """

    file: FileEntry
    first_row: int
    n_rows: int
    n_tokens: int
    n_truncated: int
    made_with: dict[str, Any]


class CorpusNote(msgspec.Struct, frozen=True):
    """Where the papers came from and what was left out. `checksum` is SHA-256 over id and text of each row."""

    source: str
    stamp: list[int] | None
    options: dict[str, Any]
    checksum: str
    n_read: int
    n_selected: int
    n_repeated: int
    n_empty: int
    n_content_ids: int
    n_without_vector: int = 0


class VectorsNote(msgspec.Struct, frozen=True):
    """Where vectors that no encoder made for this store were taken from: a file or another store, or "" for arrays.

    `stamp` changes when that does; `fields` names its columns; `model` is what it says that made the vectors, `changed`
    the transform that they went through after that.
    """

    source: str
    stamp: list[int] | None
    fields: dict[str, str]
    model: str
    changed: str = ""


class AnnMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """How an index did when it was built, in queries that it was not set by.

    `queries` says what they were: titles and sentences of papers, or stored rows, each left out of its own answer.
    Errors are standard errors: of the mean recall, of the median latency. `latency_ms` is of one query, with what is
    re-scored, on one thread, all in memory; `target` the recall that was asked for.
    """

    queries: str
    n_queries: int
    recall_error: float
    latency_ms: float
    latency_error_ms: float
    target: float


class Ann(msgspec.Struct, frozen=True):
    """The FAISS file: its kind, what it was built with, and the share of the exact ten that it was measured to find.

    Parameters of `ivf`: n_lists, bits (of each number in a code; 1 where it is not said), n_probe (lists read for a
    query), rescored (rows whose similarity is computed for ten hits). Without `measured` the recall is that of rows
    which counted themselves.
    """

    kind: str
    parameters: dict[str, int]
    recall: float
    file: FileEntry
    measured: AnnMeasure | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to make a generation: "build", "add", "remove" or "compact", from `source`.

    Of papers that were there already, abstracts were `changed` or other fields `renewed`.
    """

    what: str = "build"
    n_new: int = 0
    n_changed: int = 0
    n_renewed: int = 0
    n_removed: int = 0
    source: str = ""


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


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the corpus, complete or on its way.

    Rows are only appended: `starts` are the rows at which papers were added, each of which begins a shard. A paper that
    was removed, or whose text was embedded again in another row, leaves a dead row, of which the catalogue and the
    keyword index know nothing: `n_papers` are alive, `n_dead` are not. A transform stays as it was fitted, on
    `n_fitted` papers (None: on all that there were before any was added).

    `model` is what the user asked for (a ModelSpec), `recipe` what that is (a Recipe), both as plain dictionaries.
    Of vectors that were taken from elsewhere (`vectors`, None when others were added) and do not say how to make more,
    `weights` in the recipe is GIVEN_VECTORS and a hash of them. `ann_memory` in bytes and `ann_recall` are what was
    asked of the index. `hybrid_weight` is the cosine's in a hybrid score, None where it is the usual one.
    """

    number: int
    created: str
    updated: str
    n_papers: int
    n_dead: int = 0
    starts: list[int] = msgspec.field(default_factory=lambda: [0])
    corpus: CorpusNote
    model: dict[str, Any]
    recipe: dict[str, Any]
    template: str
    transform: str | None = None
    dtype: str
    shard_rows: int
    ann_kind: str
    ann_memory: int | None = None
    ann_recall: float | None = None
    dim: int | None = None
    papers: FileEntry
    papers_base: FileEntry | None = None
    keywords: list[FileEntry]
    shards: list[Shard] = []
    vectors: VectorsNote | None = None
    transform_file: FileEntry | None = None
    n_fitted: int | None = None
    ann: Ann | None = None
    complete: bool = False
    hybrid_weight: float | None = None
    change: Change = Change()

    def files(self) -> Iterator[FileEntry]:
        """Every file that this generation needs."""
        yield self.papers
        if self.papers_base:
            yield self.papers_base
        yield from self.keywords
        yield from (shard.file for shard in self.shards)
        if self.transform_file:
            yield self.transform_file
        if self.ann:
            yield self.ann.file

    @property
    def papers_size(self) -> int:
        """Bytes of the catalogue."""
        return self.papers.size + (self.papers_base.size if self.papers_base else 0)

    @property
    def has_encoder(self) -> bool:
        """Whether it is known what embeds a query so that it can be compared with the vectors."""
        return not str(self.recipe.get("weights", "")).startswith(GIVEN_VECTORS)

    @property
    def n_embedded(self) -> int:
        """Papers that have a vector already. Dead rows all have one: only a complete store is changed."""
        return sum(shard.n_rows for shard in self.shards) - self.n_dead

    @property
    def n_rows(self) -> int:
        """Rows, dead or alive."""
        return self.n_papers + self.n_dead

    @property
    def first_rows(self) -> list[int]:
        """The first row of every shard, done or not."""
        ends = [*self.starts[1:], self.n_rows]
        return [first for each in zip(self.starts, ends, strict=True) for first in range(*each, self.shard_rows)]

    def rows_from(self, first_row: int) -> int:
        """How many rows the shard has that begins at this one."""
        end = next((start for start in self.starts if start > first_row), self.n_rows)
        return min(self.shard_rows, end - first_row)

    @property
    def missing(self) -> list[int]:
        """The first row of every shard that is not done."""
        done = {shard.first_row for shard in self.shards}
        return [first for first in self.first_rows if first not in done]

    def shard_number(self, first_row: int) -> int:
        """The number, from 1, of the shard that begins at this row."""
        return bisect.bisect_left(self.first_rows, first_row) + 1


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
