"""Committing shards that workers have handed in: the one place where that is done, whoever the workers are."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Protocol

from embedsearch.encoders import Encoder
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.stages.embed import embed, with_shard
from embedsearch.stages.options import Progress, Stage, Step
from embedsearch.stages.receipts import Receipt, check, drop_folder, drop_of, handed_in, read_receipt
from embedsearch.store.atomic import write_bytes
from embedsearch.store.generation import Generation
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
    loses none and commits none twice. `drop` is where, other than in the store's own folder, workers hand in.
    """

    def __init__(
        self,
        writer: StoreWriter,
        generation: Generation,
        encoder: Encoder,
        progress: Progress,
        *,
        drop: str | None = None,
    ) -> None:
        self.generation = generation
        self._writer = writer
        self._encoder = encoder
        self._drop = drop_of(writer.folder, generation, drop)
        self._progress = progress
        self._stage, self._n_papers, self._n_tokens = Stage.EMBED, 0, 0
        (writer.folder / "vectors").mkdir(exist_ok=True)

    @property
    def missing(self) -> list[int]:
        """The first rows of the shards that are not committed."""
        return self.generation.missing

    def sweep(self) -> None:
        """Commit whatever lies in the drop; what is not right is told in one line, removed, and stays missing."""
        self._stage = Stage.COLLECT
        for name in handed_in(self._drop):
            try:
                self.take(read_receipt(self._drop, name))
            except FileNotFoundError:
                continue  # its worker is writing it anew
            except StoreCorrupt as error:
                log.warning("%s: not taken: %s", name, error)
            self._drop.remove(name)
        self._stage, self._n_papers, self._n_tokens = Stage.EMBED, 0, 0

    def begin(self) -> None:
        """Say what there is to do, before the first receipt comes."""
        self._tell()

    def take(self, receipt: Receipt) -> None:
        """Commit one shard, unless it is committed already. Raises StoreCorrupt for what is not as it should be."""
        shard, name = receipt.shard, receipt.file_name
        if shard.first_row not in self.generation.first_rows:
            raise StoreCorrupt(f"expected the first row of a shard, found {shard.first_row}")
        if shard.first_row in self.missing:
            dim = self.generation.dim or self._encoder.dim
            data = check(receipt, self._drop, self.generation, dim=dim)
            write_bytes(self._writer.folder / shard.file.name, data)
            self.generation = self._writer.update(with_shard(self.generation, shard, dim=dim))
            self._n_papers += shard.n_rows
            self._n_tokens += shard.n_tokens
            self._tell()
        self._drop.remove(name)

    def finish(self) -> Generation:
        """The generation; the drop is removed where nothing more is to come."""
        if not self.missing:
            with suppress(OSError):  # a late worker may be writing there: the next writer of the store removes it
                self._drop.clear()
        return self.generation

    def _tell(self) -> None:
        total, done = self.generation.n_papers, self.generation.n_embedded
        to_do = total - done + self._n_papers
        self._progress(
            Step(
                stage=self._stage,
                done=done,
                total=total,
                n_papers=self._n_papers,
                n_tokens=self._n_tokens,
                n_tokens_expected=round(self._n_tokens / self._n_papers * to_do) if self._n_papers else None,
                n_truncated=sum(shard.n_truncated for shard in self.generation.shards),
            )
        )


def collect(
    writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress, drop: str | None = None
) -> Generation:
    """An Engine that computes nothing: commits what was handed in. Raises StoreError where shards are missing.

    For another `drop` than the store's own: `engine=partial(collect, drop="s3://bucket/folder")`.
    """
    collector = Collector(writer, generation, encoder, progress, drop=drop)
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
    collector = Collector(writer, generation, encoder, progress)
    collector.sweep()
    collector.generation = embed(writer, collector.generation, encoder, progress=progress)
    return collector.finish()


def leave(writer: StoreWriter, generation: Generation, encoder: Encoder, *, progress: Progress) -> Generation:
    """An Engine that leaves the store as it was begun, for others to work on."""
    return generation
