"""One task of an array job: a share of a store's shards, computed without the store's lock and handed in.

The first task that comes makes the store; the others wait for it. `build_index(..., engine=collect)` commits.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedsearch.build import build_index
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import OptionError, RecipeMismatch, StoreError, StoreLocked, StoreNotFound
from embedsearch.stages.collect import leave
from embedsearch.stages.options import BuildOptions, Progress, Stage, Step
from embedsearch.stages.receipts import Receipt, check, drop_folder, handed_in, read_receipt
from embedsearch.stages.shard_work import IN_FLIGHT, ShardWorker
from embedsearch.store.manifest import Generation, read_manifest

PATIENCE = 3600.0
"""Seconds that a task waits for another to read the papers."""
LOOK_EVERY = 1.0

log = logging.getLogger("embedsearch")


@dataclass(frozen=True, slots=True)
class Share:
    """Every `of`-th shard, from the `k`-th on; both count from 1."""

    k: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.of:
            raise OptionError(f"expected a share from 1/{self.of} to {self.of}/{self.of}, found {self.k}/{self.of}")

    @classmethod
    def parse(cls, text: str) -> Share:
        """`3/16`. Raises OptionError."""
        if not (match := re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)):
            raise OptionError(f"expected a share such as 3/16, found {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of_shards(self, firsts: range) -> list[int]:
        """The first rows of its shards."""
        return list(firsts[self.k - 1 :: self.of])


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareReport:
    """What a task did: of `n_shards` that are its share, `n_computed` now; the others were there."""

    n_shards: int
    n_computed: int


def build_share(
    corpus: str | Path | None,
    index: str | Path,
    *,
    share: Share,
    model: ModelSpec | str | None = None,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
    options: BuildOptions | None = None,
    progress: Progress = lambda step: None,
    patience: float = PATIENCE,
) -> ShareReport:
    """Compute the shards of `share` that are neither committed nor handed in. Arguments are as of `build_index`.

    A store that is not there yet is begun; `patience` is how many seconds this waits for another process that does it.
    Raises what `build_index` raises, and StoreLocked where that takes longer.
    """
    folder, options = Path(index), options or BuildOptions()
    if options.overwrite:
        raise OptionError("expected no overwriting by shares, which a late one would do again; name another index")
    deadline = time.monotonic() + patience
    while (generation := _begun(folder)) is None:
        try:
            build_index(
                corpus, folder, model=model, encoder=encoder, compute=compute, options=options, progress=progress,
                engine=leave,
            )  # fmt: skip
        except StoreLocked as error:
            if time.monotonic() > deadline:
                raise
            log.warning("Waiting for the papers to be read: %s.", str(error).partition(", found ")[2])
            _wait(folder, deadline)
    if generation.n_embedded == generation.n_papers:
        return ShareReport(n_shards=len(share.of_shards(generation.first_rows)), n_computed=0)
    _check_asked(folder, generation, options)
    if encoder is None:
        spec = ModelSpec(name=model) if isinstance(model, str) else model or ModelSpec.from_dict(generation.model)
        encoder = open_encoder(spec, compute=compute, expected=Recipe.from_dict(generation.recipe))
    return _compute(folder, generation, share, encoder, progress)


def _begun(folder: Path) -> Generation | None:
    """The generation that is being built, else the one that is there."""
    try:
        manifest = read_manifest(folder, check_files=False)
    except StoreNotFound:
        return None
    return manifest.building or manifest.serving


def _wait(folder: Path, deadline: float) -> None:
    """Until the store was begun, or its lock may be free again."""
    until = min(deadline, time.monotonic() + 30)
    while time.monotonic() < until and _begun(folder) is None:
        time.sleep(LOOK_EVERY)


def _check_asked(folder: Path, generation: Generation, options: BuildOptions) -> None:
    """Another template or dtype than the store's would be another store."""
    for name in ("template", "dtype"):
        asked, has = getattr(options, name), getattr(generation, name)
        if asked not in (None, has):
            raise RecipeMismatch(f"expected {name} {has!r}, with which {folder} was begun, found {asked!r}")


def _compute(folder: Path, generation: Generation, share: Share, encoder: Encoder, progress: Progress) -> ShareReport:
    open_shards = set(generation.missing) - {receipt.shard.first_row for receipt in _valid(folder, generation)}
    mine = share.of_shards(generation.first_rows)
    todo = [first for first in mine if first in open_shards]
    total = sum(min(generation.shard_rows, generation.n_papers - first) for first in todo)
    worker = ShardWorker(folder, generation, encoder)
    n_papers = n_tokens = n_truncated = 0
    pool = ThreadPoolExecutor(IN_FLIGHT)
    try:
        for receipt in pool.map(worker, todo):
            n_papers += receipt.shard.n_rows
            n_tokens += receipt.shard.n_tokens
            n_truncated += receipt.shard.n_truncated
            progress(
                Step(
                    stage=Stage.EMBED,
                    done=n_papers,
                    total=total,
                    n_papers=n_papers,
                    n_tokens=n_tokens,
                    n_tokens_expected=round(n_tokens / n_papers * total),
                    n_truncated=n_truncated,
                )
            )
    finally:
        pool.shutdown(cancel_futures=True)
    return ShareReport(n_shards=len(mine), n_computed=len(todo))


def _valid(folder: Path, generation: Generation) -> Iterator[Receipt]:
    """The receipts whose files are whole."""
    drop = drop_folder(folder, generation)
    for path in handed_in(drop):
        try:
            receipt = read_receipt(path)
            check(receipt, drop, generation)
        except (StoreError, FileNotFoundError):
            continue  # cut, of another generation, or collected this moment: computed again
        yield receipt
