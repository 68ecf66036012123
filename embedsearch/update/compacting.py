"""A store is written anew without its dead rows. No paper is embedded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch.ann import AnnKind
from embedsearch.build import make_ann
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.encoders.services import is_service
from embedsearch.scores import Rows
from embedsearch.stages.ingest import index_words
from embedsearch.stages.options import Progress, Stage, Step
from embedsearch.store.atomic import new_path
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.catalogue_updater import write_living
from embedsearch.store.generation import Change, Generation, Shard
from embedsearch.store.manifest import check_hash, describe, now
from embedsearch.store.vectors import open_shard, write_shard
from embedsearch.update.changing import opened
from embedsearch.update.report import UpdateReport


def compact(
    index: str | Path,
    *,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
    progress: Progress = lambda step: None,
) -> UpdateReport:
    """Write the store at `index` anew, without dead rows and with shards of full size.

    Papers keep their vectors, and the order of their rows. The transform stays as it was fitted; the index is built
    again, and the keyword index counts the words of what is there alone. What is served changes once, at the end: until
    then, a kill loses the work of this call and nothing else. The model is opened where an `ivf` is measured with
    queries. Raises as `remove` does.
    """
    with opened(index) as writer:
        folder, known, number = writer.folder, writer.served, writer.next_number
        nothing = UpdateReport(generation=known.number, n_papers=known.n_papers)
        if known.papers_base is None:  # nothing was changed since it was written
            return nothing
        for each in (known.papers, known.papers_base, *(shard.file for shard in known.shards)):
            check_hash(folder, each)  # else damage would be copied, and have a right hash from then on
        papers = folder / f"papers-{number}.sqlite"
        with new_path(papers) as temporary:
            checksum = write_living(temporary, folder / known.papers.name)
        entry = describe(folder, papers)
        generation = msgspec.structs.replace(
            known,
            number=number,
            created=now(),
            n_dead=0,
            starts=[0],
            n_fitted=known.n_papers_fitted,
            corpus=msgspec.structs.replace(known.corpus, checksum=checksum),
            papers=entry,
            papers_base=None,
            keywords=index_words(folder, entry, number=number, progress=progress),
            shards=list(_shards(folder, known, progress)),
            change=Change(what="compact"),
        )
        asks = encoder or _asking(generation, compute)
        ann = make_ann(folder, generation, asks, progress=progress)
        generation = writer.serve(msgspec.structs.replace(generation, ann=ann))
        return replace(nothing, n_dead_rows=known.n_dead).served(folder, generation, known)


def _asking(generation: Generation, compute: Compute | None) -> Encoder | None:
    """What embeds the queries that an index is measured with, None where none are needed or to be had."""
    spec = ModelSpec.from_dict(generation.model)
    if AnnKind(generation.ann_kind) is not AnnKind.IVF or not generation.has_encoder or is_service(spec):
        return None
    return open_encoder(spec, compute=compute, expected=Recipe.from_dict(generation.recipe))


def _shards(folder: Path, known: Generation, progress: Progress) -> Iterator[Shard]:
    """The vectors of living rows, as they are stored, in shards of full size."""
    living, size = Catalogue(folder / known.papers.name).rows(), known.shard_rows
    starts = np.array([shard.first_row for shard in known.shards], np.int64)
    for number, first in enumerate(range(0, len(living), size), 1):
        rows = living[first : first + size]
        place = np.searchsorted(starts, rows, side="right") - 1
        parts = [_Part.of(folder, known, known.shards[each], rows[place == each]) for each in np.unique(place)]
        vectors = np.concatenate([part.vectors for part in parts])
        yield Shard(
            file=write_shard(folder, number=number, vectors=vectors, dtype=known.dtype),
            first_row=first,
            n_rows=len(rows),
            n_tokens=round(sum(part.n_tokens for part in parts)),
            n_truncated=round(sum(part.n_truncated for part in parts)),
            made_with=max(parts, key=lambda part: len(part.vectors)).made_with,
        )
        progress(Step(stage=Stage.COLLECT, done=first + len(rows), total=known.n_papers, n_papers=first + len(rows)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Some rows of a shard: (n, dim) as stored, and their share of what it counts."""

    vectors: NDArray[np.floating]
    n_tokens: float
    n_truncated: float
    made_with: dict[str, Any]

    @classmethod
    def of(cls, folder: Path, known: Generation, shard: Shard, rows: Rows) -> _Part:
        share = len(rows) / shard.n_rows
        return cls(
            vectors=open_shard(folder, shard, dim=known.dim or 0)[rows - shard.first_row],
            n_tokens=share * shard.n_tokens,
            n_truncated=share * shard.n_truncated,
            made_with=shard.made_with,
        )
