"""The writing side of a store: its manifest, and what no manifest names any more."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from embedsearch._version import __version__
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.store.atomic import TEMPORARY_PREFIX, file_hash, remove
from embedsearch.store.generation import Generation
from embedsearch.store.lock import LOCK_NAME, OWNER_NAME
from embedsearch.store.manifest import (
    MANIFEST_NAME,
    Event,
    Manifest,
    check_sizes,
    commit,
    now,
    read_manifest,
    rollback_command,
)

MADE_BY = f"embedsearch {__version__}"

OURS = re.compile(
    rf"(?:{re.escape(TEMPORARY_PREFIX)})?"
    r"(?:papers-(\d+)\.sqlite|keywords-(\d+)|drop-(\d+)|transform-(\d+)\.npz|ann-(\d+)-[a-z]+\.faiss|\d{6}-[0-9a-f]{16}\.npy"
    rf"|{re.escape(MANIFEST_NAME)})"
)
"""The names that a writer gives. Nothing else is ever removed: a user's `papers-2023.jsonl` is a user's."""


class StoreWriter:
    """A store that its holder alone writes to (see `lock.writer_lock`).

    `manifest` is None while nothing is committed. With `replace`, a store that is not whole is no error: what is
    served may be broken, since it will be replaced, and what was being built is forgotten if it is. With `anew`, a
    manifest that cannot be read is none; its files stay until a new generation is committed.
    """

    def __init__(self, folder: Path, *, replace: bool = False, anew: bool = False) -> None:
        self.folder = folder
        self._replace = replace
        self.manifest = self._read(anew) if (folder / MANIFEST_NAME).exists() else None
        self._broken = self.manifest is None and (folder / MANIFEST_NAME).exists()
        if not self._broken:
            self._clean_up()

    def _read(self, anew: bool) -> Manifest | None:
        try:
            manifest = read_manifest(self.folder, check_files=not self._replace)
        except StoreCorrupt:
            if not anew:
                raise
            return None
        if manifest.building is not None:
            try:
                give_up = f"give up what is being built: {rollback_command(self.folder)}"
                check_sizes(self.folder, manifest.building, repair=give_up)
            except StoreCorrupt:
                if not self._replace:
                    raise
                return msgspec.structs.replace(manifest, building=None)
        return manifest

    @property
    def next_number(self) -> int:
        """The number of a new generation."""
        if self.manifest is not None:
            told = [event.number for event in self.manifest.history]  # those that were rolled back among them
            return 1 + max([generation.number for generation in self.manifest.generations()] + told)
        if not self._broken:
            return 1
        # Past the files of the generations that cannot be read: they stay until the new one is there.
        return 1 + max((_number(path) or 0 for path in self.folder.iterdir()), default=0)

    @property
    def served(self) -> Generation:
        """The generation that is served, of a store that is there."""
        assert self.manifest is not None, "begin comes first"
        return self.manifest.serving

    @property
    def newest(self) -> Generation | None:
        """The generation that was begun last."""
        return (self.manifest.building or self.manifest.serving) if self.manifest else None

    def begin(self, generation: Generation) -> Generation:
        """Commit a new generation. It is served at once if there is no other, else when it is complete."""
        if self.manifest is None:
            begun = self._commit(Manifest(serving=generation), generation)
            if self._broken:
                self._clean_up()  # what could not be read is replaced now, and no earlier
            return begun
        return self._commit(msgspec.structs.replace(self.manifest, building=generation), generation)

    def update(self, generation: Generation) -> Generation:
        """Commit a newer state of the generation that was begun last."""
        assert self.manifest is not None, "begin comes first"
        generation = msgspec.structs.replace(generation, updated=now())
        old = self.manifest
        if old.building is None:
            known = events_of(old)  # a store whose index alone is made anew is the same generation
            is_new = generation.complete and all(event.number != generation.number for event in known)
            told = [*known, event_of(generation)] if is_new else [*known]
            return self._commit(msgspec.structs.replace(old, serving=generation, history=told), generation)
        if not generation.complete:
            return self._commit(msgspec.structs.replace(old, building=generation), generation)
        return self.serve(generation)

    def serve(self, generation: Generation) -> Generation:
        """Commit a complete generation in the place of the one that is served, which becomes the previous one."""
        assert self.manifest is not None, "begin comes first"
        generation = msgspec.structs.replace(generation, updated=now())
        old = self.manifest
        keep = old.serving.complete and (not self._replace or self._is_whole(old.serving))
        previous = old.serving if keep else None
        whole = msgspec.structs.replace(
            old,
            serving=generation,
            building=None,
            previous=previous,
            history=[*events_of(old), event_of(generation)],
        )
        return self._commit(whole, generation)

    def roll_back(self) -> Event:
        """Forget what is being built; where nothing is, serve the previous generation and forget the one that is.

        Raises StoreError where there is none, StoreCorrupt where it is not whole.
        """
        old = self.manifest
        if old is None or (old.building is None and old.previous is None):
            raise StoreError(
                f"expected a previous generation in {self.folder}, found none: only the last one is kept, and a"
                " rollback gives it up; see `embedsearch log`"
            )
        back = old.serving if old.building is not None else old.previous
        assert back is not None, "one of them is there"
        if not self._is_whole(back):
            raise StoreCorrupt(
                f"expected generation {back.number} of {self.folder} to be whole, found that it is not; see"
                " `embedsearch verify`"
            )
        previous = old.previous if old.building is not None else None
        event = Event(number=back.number, at=now(), by=MADE_BY, n_papers=back.n_papers, what="rollback")
        told = msgspec.structs.replace(
            old, serving=back, building=None, previous=previous, history=[*events_of(old), event]
        )
        self._commit(told, back)
        return event

    def _commit(self, manifest: Manifest, generation: Generation) -> Generation:
        self.manifest = commit(self.folder, msgspec.structs.replace(manifest, made_by=MADE_BY))
        return generation

    def _is_whole(self, generation: Generation) -> bool:
        try:
            return all(file_hash(self.folder / entry.name) == entry.sha256 for entry in generation.files())
        except OSError:
            return False

    def _clean_up(self) -> None:
        """Remove what no generation names: what a killed build, or an older generation, left behind."""
        named, highest = set[str](), self.next_number
        for generation in self.manifest.generations() if self.manifest else ():
            for entry in generation.files():
                named |= {entry.name, entry.name.partition("/")[0]}
        if self.manifest is not None and self.manifest.pending is not None:
            named.add(f"drop-{self.manifest.pending.number}")  # workers without the lock are writing there
        for path in [*self.folder.iterdir(), *self.folder.glob("vectors/*"), *self.folder.glob("vectors/.new-*")]:
            kept = path.relative_to(self.folder).as_posix() in named or path.name == MANIFEST_NAME
            # A number that no build has come to is a user's: papers-2023.sqlite
            if OURS.fullmatch(path.name) and (_number(path) or 0) <= highest and not kept:
                remove(path)


def event_of(generation: Generation) -> Event:
    """What history says of a generation that is complete."""
    change = msgspec.structs.asdict(generation.change)
    if generation.change.what == "build":
        change |= {"n_new": generation.n_papers, "source": generation.corpus.source}
    return Event(number=generation.number, at=generation.updated, by=MADE_BY, n_papers=generation.n_papers, **change)


def events_of(manifest: Manifest) -> tuple[Event, ...]:
    """Every generation that was served; of a store from before there was a history, those that are left."""
    if manifest.history:
        return tuple(manifest.history)
    left = [each for each in (manifest.previous, manifest.serving) if each is not None and each.complete]
    return tuple(msgspec.structs.replace(event_of(each), by=manifest.made_by) for each in left)


def refuse_what_is_not_ours(folder: Path) -> None:
    """Raise StoreError for a folder that is neither new, nor a store, nor what a killed build of one left."""
    if not folder.is_dir() or (any(folder.glob("papers-*.sqlite")) and (folder / MANIFEST_NAME).exists()):
        return
    known = {LOCK_NAME, OWNER_NAME, "vectors", ".DS_Store", "lost+found", ".gitignore", ".gitkeep"}
    found = sorted(path.name for path in folder.iterdir() if path.name not in known and not _left_by_first(path))
    if found:
        more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
        raise StoreError(
            f"expected an index or an empty folder at {folder}, found {found[0]}{more};"
            " name a folder of its own with --index"
        )


def _left_by_first(path: Path) -> bool:
    """Whether a first build that was killed left this."""
    return bool(OURS.fullmatch(path.name)) and _number(path) in (None, 1) and path.name != MANIFEST_NAME


def _number(path: Path) -> int | None:
    """The generation that a file of ours belongs to; None where its name tells none."""
    match = OURS.fullmatch(path.name)
    return next((int(group) for group in match.groups() if group), None) if match else None
