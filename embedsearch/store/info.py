"""What a store is, and how far it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from embedsearch.store.generation import Generation
from embedsearch.store.manifest import FORMAT, Manifest, read_manifest
from embedsearch.store.writer import events_of
from embedsearch.transform import TransformSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """A store in numbers.

    `dim` is the length of its vectors as they are searched and given out, the transform applied; None while there are
    none. `n_dead` rows are of papers that were removed or embedded again. `n_fitted` papers are those that the
    transform was fitted on, None where there is none. `hybrid_weight` is the store's own, None where it has the usual
    one. `sizes` is in bytes by kind of file, `made_with` has one record for each way of computing. `n_events` is the
    length of the store's history, `last` its last event (see `store.history`), None where nothing was finished.
    """

    path: str
    format: int
    made_by: str
    generation: int
    created: str
    updated: str
    complete: bool
    n_papers: int
    n_dead: int
    n_embedded: int
    n_tokens: int
    n_truncated: int
    model: dict[str, Any]
    recipe: dict[str, Any]
    template: str
    transform: str | None
    n_fitted: int | None
    dim: int | None
    dtype: str
    ann: dict[str, Any] | None
    hybrid_weight: float | None
    corpus: dict[str, Any]
    vectors: dict[str, Any] | None
    sizes: dict[str, int]
    made_with: list[dict[str, Any]]
    building: int | None
    previous: int | None
    n_events: int
    last: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


def store_info(path: str | Path) -> StoreInfo:
    """Describe the store at `path`; reads the manifest alone. Raises StoreNotFound, StoreCorrupt, StoreTooNew."""
    folder = Path(path)
    return info_of(folder, read_manifest(folder))


def info_of(folder: Path, manifest: Manifest) -> StoreInfo:
    """What the manifest of the store at `folder` says."""
    g = manifest.serving
    note = g.corpus
    events = events_of(manifest)
    return StoreInfo(
        path=str(folder),
        format=FORMAT,
        made_by=manifest.made_by,
        generation=g.number,
        created=g.created,
        updated=g.updated,
        complete=g.complete,
        n_papers=g.n_papers,
        n_dead=g.n_dead,
        n_embedded=g.n_embedded,
        n_tokens=sum(shard.n_tokens for shard in g.shards),
        n_truncated=sum(shard.n_truncated for shard in g.shards),
        model=g.model,
        recipe=g.recipe,
        template=g.template,
        transform=g.transform,
        n_fitted=g.n_papers_fitted,
        dim=space_dim(g),
        dtype=g.dtype,
        ann=_ann(g),
        hybrid_weight=g.hybrid_weight,
        corpus={
            "source": note.source,
            "options": note.options,
            "checksum": note.checksum,
            "n_read": note.n_read,
            "n_repeated": note.n_repeated,
            "n_empty": note.n_empty,
            "n_without_vector": note.n_without_vector,
        },
        vectors=_taken(g),
        sizes=_sizes(g),
        made_with=_distinct(g),
        building=manifest.building.number if manifest.building else None,
        previous=manifest.previous.number if manifest.previous else None,
        n_events=len(events),
        last=msgspec.structs.asdict(events[-1]) if events else None,
    )


def space_dim(g: Generation) -> int | None:
    """Length of a generation's vectors as they are searched and given out; None while there are none."""
    if g.dim is None or g.transform is None or g.transform_file is None:  # searched as they are until it is fitted
        return g.dim
    return TransformSpec.parse(g.transform).dim_after(g.dim)


def _taken(g: Generation) -> dict[str, Any] | None:
    """Where vectors came from that no encoder made for the store."""
    if g.vectors is None:
        return None
    return {"source": g.vectors.source or None, "model": g.vectors.model, "has_encoder": g.has_encoder}


def _ann(g: Generation) -> dict[str, Any] | None:
    """The index, how good it was measured to be, and in what; `measured` is null in stores that say less."""
    if g.ann is None:
        return None
    measured = msgspec.structs.asdict(g.ann.measured) if g.ann.measured else None
    return {"kind": g.ann.kind, "parameters": g.ann.parameters, "recall": g.ann.recall, "measured": measured}


def _sizes(g: Generation) -> dict[str, int]:
    return {
        "papers": g.papers_size,
        "keywords": sum(entry.size for entry in g.keywords),
        "vectors": sum(shard.file.size for shard in g.shards),
        "transform": g.transform_file.size if g.transform_file else 0,
        "ann": g.ann.file.size if g.ann else 0,
    }


def _distinct(g: Generation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for shard in g.shards:
        if shard.made_with not in found:
            found.append(shard.made_with)
    return found
