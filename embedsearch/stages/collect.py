"""Committing shards that workers have handed in: the one place where that is done, whoever the workers are."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from embedsearch.encoders import Encoder
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.stages.embed import embed, with_shard
from embedsearch.stages.options import Progress, Stage, Step
from embedsearch.stages.receipts import Receipt, check, drop_folder, handed_in, read_receipt
from embedsearch.store.atomic import remove, write_bytes
from embedsearch.store.manifest import Generation, Shard
from embedsearch.store.writer import StoreWriter

log = logging.getLogger("embedsearch")


class Engine(Protocol):
    """How the missing shards of a generation come into being. Called by the holder of the store's lock."""

    def __call__(
        self, writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress
    ) -> Generation:
        """The generation with what was committed; a build goes on where that is all of it."""


class Collector:
    """Takes receipts, verifies what they name, and commits it: each shard once, in order of rows.

    A file is copied from the drop before the manifest names it, and removed from there after: a crash at any moment
    loses none and commits none twice.
    """

    def __init__(self, writer: StoreWriter, generation: Generation, progress: Progress) -> None:
        self.generation = generation
        self._writer = writer
        self._drop = drop_folder(writer.folder, generation)
        self._progress = progress
        self._n_before = generation.n_embedded
        (writer.folder / "vectors").mkdir(exist_ok=True)

    @property
    def missing(self) -> list[int]:
        """The first rows of the shards that are not committed."""
        return self.generation.missing

    def sweep(self) -> None:
        """Commit whatever lies in the drop; what is not right is told in one line, removed, and stays missing."""
        for path in handed_in(self._drop):
            try:
                self.take(read_receipt(path))
            except StoreCorrupt as error:
                log.warning("%s: not taken: %s", path.name, error)
            remove(path)

    def take(self, receipt: Receipt) -> None:
        """Commit one shard, unless it is committed already. Raises StoreCorrupt for what is not as it should be."""
        shard = receipt.shard
        name = Path(shard.file.name).name
        if shard.first_row in self.missing:
            write_bytes(self._writer.folder / "vectors" / name, check(receipt, self._drop, self.generation))
            self.generation = self._writer.update(with_shard(self.generation, shard, dim=receipt.dim))
            self._tell(shard)
        remove(self._drop / name)

    def finish(self) -> Generation:
        """The generation; the drop is removed where nothing more is to come."""
        if not self.missing:
            with suppress(OSError):  # a late worker may be writing there: the next writer of the store removes it
                remove(self._drop)
        return self.generation

    def _tell(self, last: Shard) -> None:
        shards, total = self.generation.shards, self.generation.n_papers
        n_tokens, done = sum(shard.n_tokens for shard in shards), self.generation.n_embedded
        self._progress(
            Step(
                stage=Stage.EMBED,
                done=done,
                total=total,
                n_papers=done - self._n_before,
                n_tokens=round(n_tokens * (done - self._n_before) / done),
                n_tokens_expected=round(n_tokens / done * (total - self._n_before)),
                n_truncated=sum(shard.n_truncated for shard in shards),
            )
        )


def collect(writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress) -> Generation:
    """An Engine that computes nothing: commits what was handed in. Raises StoreError where shards are missing."""
    collector = Collector(writer, generation, progress)
    collector.sweep()
    if missing := collector.missing:
        numbers = [generation.shard_number(first) for first in missing]
        listed = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise StoreError(
            f"expected all {len(generation.first_rows):,} shards of {writer.folder} to be handed in, found"
            f" {len(missing):,} missing: {listed}; run build-index --shards again for those, or without it to embed"
            " them here"
        )
    return collector.finish()


def embed_here(writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress) -> Generation:
    """The Engine of one device in this process: takes what was handed in, and embeds the rest."""
    if not drop_folder(writer.folder, generation).exists():
        return embed(writer, generation, encoder, progress=progress)
    collector = Collector(writer, generation, progress)
    collector.sweep()
    collector.generation = embed(writer, collector.generation, encoder, progress=progress)
    return collector.finish()


def leave(writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress) -> Generation:
    """An Engine that leaves the store as it was begun, for others to work on."""
    return generation
