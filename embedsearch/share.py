"""One task of an array job: a share of a store's shards, computed without the store's lock and handed in.

The first task that comes makes the store; the others wait for it. `build_index(..., engine=collect)` commits.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedsearch.build import build_index
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import OptionError, RecipeMismatch, StoreCorrupt, StoreLocked, StoreNotFound
from embedsearch.stages.collect import leave
from embedsearch.stages.embed import check_beforehand
from embedsearch.stages.ingest import check_source, is_store, source_of
from embedsearch.stages.options import BuildOptions, Progress, Stage, Step
from embedsearch.stages.receipts import check, drop_of, read_receipt, receipt_name
from embedsearch.stages.shard_work import IN_FLIGHT, ShardWorker
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import read_manifest

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

    def of_shards(self, firsts: Sequence[int]) -> list[int]:
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
    drop: str | None = None,
) -> ShareReport:
    """Compute the shards of `share` that are neither committed nor handed in. Arguments are as of `build_index`.

    A store that is not there yet is begun; `patience` is how many seconds this waits for another process that does it.
    Shards are handed in under `drop`, a folder or a URL that fsspec knows, else in the store's own folder, which is
    only read then. Raises what `build_index` raises, and StoreLocked where the waiting takes longer.
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
    _check_asked(folder, generation, corpus, options)
    if generation.n_embedded == generation.n_papers:
        return ShareReport(n_shards=len(share.of_shards(generation.first_rows)), n_computed=0)
    if encoder is None:
        spec = ModelSpec(name=model) if isinstance(model, str) else model or ModelSpec.from_dict(generation.model)
        encoder = open_encoder(spec, compute=compute, expected=Recipe.from_dict(generation.recipe))
    mine = share.of_shards(generation.first_rows)
    todo = _not_handed_in(folder, generation, mine, encoder, drop)
    _compute(folder, generation, todo, encoder, progress, drop)
    return ShareReport(n_shards=len(mine), n_computed=len(todo))


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


def _check_asked(folder: Path, generation: Generation, corpus: str | Path | None, options: BuildOptions) -> None:
    """Other papers, another template or another dtype than the store's would be another store."""
    for name in ("template", "dtype"):
        asked, has = getattr(options, name), getattr(generation, name)
        if asked not in (None, has):
            raise RecipeMismatch(f"expected {name} {has!r}, with which {folder} was begun, found {asked!r}")
    if not _may_be_of(generation, corpus, options):
        chosen = {key: value for key, value in options.of_corpus().items() if value}
        raise RecipeMismatch(
            f"expected the papers that {folder} was begun with, of {generation.corpus.source}, found"
            f" {corpus or 'no corpus'}{f' with {chosen}' if chosen else ''}, which has others; name the same corpus and"
            " options, or neither"
        )


def _may_be_of(generation: Generation, corpus: str | Path | None, options: BuildOptions) -> bool:
    """Whether these may be the papers of a generation, as far as that shows without reading them.

    A file may have another path, and another time, on another machine; not another size.
    """
    known, asked = generation.corpus, options.of_corpus()
    if corpus is None:
        return asked in (known.options, BuildOptions().of_corpus())
    check_source(corpus, options)
    source, stamp = source_of(corpus)
    same_size = stamp is None or known.stamp is None or stamp[0] == known.stamp[0]
    return asked == known.options and (same_size or (is_store(corpus) and source == known.source))


def _not_handed_in(
    folder: Path, generation: Generation, mine: Sequence[int], encoder: Encoder, base: str | None
) -> list[int]:
    """Those of my shards that are neither committed nor wait, whole, in the drop."""
    drop, missing = drop_of(folder, generation, base), set(generation.missing)
    todo = []
    for first in mine:
        if first not in missing:
            continue
        try:
            receipt = read_receipt(drop, receipt_name(generation.shard_number(first)))
            check(receipt, drop, generation, dim=generation.dim or encoder.dim)
        except (StoreCorrupt, FileNotFoundError):  # cut, of another generation, or collected this moment
            todo.append(first)
    return todo


def _compute(
    folder: Path,
    generation: Generation,
    todo: Sequence[int],
    encoder: Encoder,
    progress: Progress,
    drop: str | None,
) -> None:
    total = sum(generation.rows_from(first) for first in todo)
    check_beforehand(folder, generation, encoder, n_papers=0 if drop else total)
    worker = ShardWorker(folder, generation, encoder, drop=drop)
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
        worker.stop()  # else Control-C would wait for whole shards
        pool.shutdown(cancel_futures=True)
