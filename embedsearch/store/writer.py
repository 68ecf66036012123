"""The writing side of a store: its manifest, and what no manifest names any more."""

from __future__ import annotations

from pathlib import Path

import msgspec

from embedsearch._version import __version__
from embedsearch.errors import StoreCorrupt
from embedsearch.store.atomic import TEMPORARY_PREFIX, remove
from embedsearch.store.manifest import MANIFEST_NAME, Generation, Manifest, check_sizes, commit, now, read_manifest


class StoreWriter:
    """A store that its holder alone writes to (see `lock.writer_lock`).

    `manifest` is None while nothing is committed. With `replace`, a store that is not whole is no error: what is
    served may be broken, since it will be replaced, and what was being built is forgotten if it is.
    """

    def __init__(self, folder: Path, *, replace: bool = False) -> None:
        self.folder = folder
        self.manifest: Manifest | None = None
        if (folder / MANIFEST_NAME).exists():
            self.manifest = read_manifest(folder, check_files=not replace)
            if self.manifest.building is not None:
                try:
                    check_sizes(folder, self.manifest.building)
                except StoreCorrupt:
                    if not replace:
                        raise
                    self.manifest = msgspec.structs.replace(self.manifest, building=None)
        self._clean_up()

    @property
    def next_number(self) -> int:
        """The number of a new generation."""
        return 1 + max((g.number for g in self.manifest.generations()), default=0) if self.manifest else 1

    @property
    def newest(self) -> Generation | None:
        """The generation that was begun last."""
        return (self.manifest.building or self.manifest.serving) if self.manifest else None

    def begin(self, generation: Generation) -> Generation:
        """Commit a new generation. It is served at once if there is no other, else when it is complete."""
        if self.manifest is None:
            return self._commit(Manifest(serving=generation), generation)
        return self._commit(msgspec.structs.replace(self.manifest, building=generation), generation)

    def update(self, generation: Generation) -> Generation:
        """Commit a newer state of the generation that was begun last."""
        assert self.manifest is not None, "begin comes first"
        generation = msgspec.structs.replace(generation, updated=now())
        old = self.manifest
        if old.building is None:
            return self._commit(msgspec.structs.replace(old, serving=generation), generation)
        if not generation.complete:
            return self._commit(msgspec.structs.replace(old, building=generation), generation)
        previous = old.serving if old.serving.complete else old.previous
        whole = msgspec.structs.replace(old, serving=generation, building=None, previous=previous)
        return self._commit(whole, generation)

    def _commit(self, manifest: Manifest, generation: Generation) -> Generation:
        self.manifest = commit(self.folder, msgspec.structs.replace(manifest, made_by=f"embedsearch {__version__}"))
        return generation

    def _clean_up(self) -> None:
        """Remove what no generation names: what a killed build, or an older generation, left behind."""
        named: set[str] = set()
        for generation in self.manifest.generations() if self.manifest else ():
            for entry in generation.files():
                named |= {entry.name, entry.name.partition("/")[0]}
        for path in [*self.folder.iterdir(), *self.folder.glob("vectors/*.npy"), *self.folder.glob("vectors/.new-*")]:
            ours = path.name.startswith((TEMPORARY_PREFIX, "papers-", "keywords-", "transform-", "ann-"))
            if (ours or path.parent != self.folder) and path.relative_to(self.folder).as_posix() not in named:
                remove(path)
