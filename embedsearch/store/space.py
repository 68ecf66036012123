"""A Space: what analysis sees of vectors. Papers' ids and vectors, without FAISS, keywords or texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from embedsearch import transform
from embedsearch.corpus import sample_key
from embedsearch.errors import BadVector, OptionError, SpaceError, StoreError
from embedsearch.scores import Float32, Rows
from embedsearch.store.arrays import TransformedVectors, VectorSource, collect, nothing_in_common
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import build_command, read_manifest
from embedsearch.store.vector_files import SUFFIXES, read_vectors, split_name
from embedsearch.store.vectors import ShardedVectors
from embedsearch.transform import TransformSpec


def open_vectors(folder: Path, generation: Generation) -> ShardedVectors:
    """The vectors of a generation by row; its transform is applied once it is fitted."""
    fitted = transform.load(folder / generation.transform_file.name) if generation.transform_file else None
    return ShardedVectors(folder, generation.shards, dim=generation.dim or 0, transform=fitted)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Space:
    """Papers in an embedding space, read-only.

    `ids` has one normal id a paper, in the order of the rows; `recipe` says what made the vectors; `name`
    and `model_name` are for messages and legends. Vectors are read when they are asked for, not kept.
    """

    name: str
    model_name: str
    ids: Sequence[str] = field(repr=False)
    recipe: Mapping[str, Any]
    dim: int
    _rows: Rows = field(repr=False)
    _vectors: VectorSource = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, *, fields: Mapping[str, str] | None = None) -> Space:
        """The space of the store at `path`, or of a file of vectors with ids: .npz, .npy with a file of ids beside it,
        .parquet, .jsonl (what OpenAI's Batch API writes, too) or .csv.

        Of a store that is being built, the papers that have vectors. `fields` names the columns of a file where they
        are not clear, {"id": "DOI", "embedding": "abstract-embeddings"}, and means nothing to a store.

        Raises StoreNotFound, StoreCorrupt or StoreTooNew; StoreError where no paper has a vector yet; of a file
        SpaceError, or BadVector, which name the row and the paper.
        """
        path = Path(path)
        if path.is_dir() or (not path.exists() and split_name(path)[1] not in SUFFIXES):
            return cls.of_store(path, read_manifest(path).serving)
        found = read_vectors(path, fields=fields)
        return cls._from(
            name=path.name,
            model_name=found.model_name or split_name(path)[0],
            ids=found.ids,
            recipe=found.recipe,
            vectors=found.vectors,
        )

    @classmethod
    def of_store(cls, folder: Path, generation: Generation) -> Space:
        """The space of a generation of the store at `folder`; without its transform where that is taken out of it."""
        vectors = open_vectors(folder, generation)
        catalogue = Catalogue(folder / generation.papers.name)
        rows = catalogue.rows()
        has = vectors.has(rows)
        if not has.any():
            raise StoreError(f"expected vectors in {folder}, found none yet; finish it with: {build_command(folder)}")
        return cls(
            name=folder.name,
            model_name=str(generation.model["name"]),
            ids=[id for id, there in zip(catalogue.ids(), has, strict=True) if there],
            recipe={**generation.recipe, "template": generation.template, "transform": generation.transform},
            dim=vectors.dim,
            _rows=rows[has],
            _vectors=vectors,
        )

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        vectors: ArrayLike,
        *,
        name: str = "vectors",
        model_name: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> Space:
        """The space of arrays: `vectors` (n, d) of any floating dtype and any lengths, in the order of `ids`.

        They are copied, as float32 rows of unit length. Raises SpaceError for another shape or dtype and for an id that
        comes twice (in normal form), BadVector, which names the paper, for a vector of NaN, infinity or length zero.
        """
        collector = collect(name, ids, vectors)
        if collector.n_repeated:
            raise SpaceError(f"{name}: expected each id once, found {len(ids) - len(collector.ids):,} again")
        return cls._from(
            name=name, model_name=model_name or name, ids=collector.ids, recipe=recipe or {}, vectors=collector.finish()
        )

    @classmethod
    def _from(
        cls, *, name: str, model_name: str, ids: Sequence[str], recipe: Mapping[str, Any], vectors: VectorSource
    ) -> Space:
        return cls(
            name=name,
            model_name=model_name,
            ids=ids,
            recipe=dict(recipe),
            dim=vectors.dim,
            _rows=np.arange(len(ids), dtype=np.int64),
            _vectors=vectors,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label(self) -> str:
        """What a legend says: the model, and in brackets the transform if there is one: `minilm (center)`."""
        changed = self.recipe.get("transform")
        return f"{self.model_name} ({changed})" if changed else self.model_name

    @property
    def is_centred(self) -> bool:
        """Whether its last transform took off the papers' mean: mean cosine is then near zero whatever the papers."""
        last = (self.recipe.get("transform") or "").split(", ")[-1]
        return bool(last) and TransformSpec.parse(last).kind is not transform.Kind.TRUNCATE

    @property
    def vectors(self) -> Float32:
        """All vectors: (n, dim) float32, rows of unit length, in the order of `ids`."""
        return self._read(0, len(self))

    def blocks(self, size: int = 4096) -> Iterator[tuple[int, Float32]]:
        """(position of the first, (up to size, dim) float32) in the order of `ids`: for what does not fit in memory."""
        for first in range(0, len(self), size):
            yield first, self._read(first, first + size)

    def _read(self, first: int, end: int) -> Float32:
        try:
            return self._vectors.rows(self._rows[first:end])
        except BadVector as error:  # of a transform that leaves nothing of a paper, or of a file that has changed
            position = first + error.position
            raise BadVector(f"paper {self.ids[position]} in {self.label}: {error}", position=position) from error

    def take(self, positions: Rows) -> Space:
        """The papers at `positions` (m,) of `ids`, in that order."""
        chosen = np.asarray(positions, np.int64)
        return replace(self, ids=[self.ids[i] for i in chosen], _rows=self._rows[chosen])

    def sample(self, n: int, *, seed: int = 0) -> Space:
        """The n papers with the smallest hash of (seed, id): the same papers in every space that has them.

        Raises OptionError where n is not between 1 and the number of papers.
        """
        if not 1 <= n <= len(self):
            raise OptionError(f"expected a sample of 1 to {len(self):,} papers, found {n:,}")
        keys = np.array([sample_key(id, seed) for id in self.ids], np.uint64)
        return self.take(np.sort(np.argsort(keys, kind="stable")[:n]))

    def transformed(self, spec: str | TransformSpec) -> Space:
        """The same papers after a transform that is fitted on them, behind any that the space has already.

        Raises OptionError where it cannot be fitted. Of a paper of which it leaves nothing, reading is a BadVector.
        """
        spec = TransformSpec.parse(spec) if isinstance(spec, str) else spec
        spec.check(dim=self.dim, n_papers=len(self))
        fitted = transform.fit(spec, self.blocks(), dim=self.dim)
        before = self.recipe.get("transform")
        return replace(
            self,
            recipe={**self.recipe, "transform": f"{before}, {spec}" if before else str(spec)},
            dim=fitted.dim,
            _vectors=TransformedVectors(self._vectors, fitted),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aligned:
    """Spaces over the same papers in the same order. `n_left_out` counts, for each, the papers that others lack."""

    spaces: tuple[Space, ...]
    n_left_out: tuple[int, ...]

    @property
    def line(self) -> str | None:
        """What was left out, in one line for people; None where nothing was."""
        if not any(self.n_left_out):
            return None
        counts = [f"{n:,} of {space.label}" for n, space in zip(self.n_left_out, self.spaces, strict=True)]
        return f"{len(self.spaces[0]):,} papers in common; left out: {', '.join(counts)}"


def align(spaces: Sequence[Space]) -> Aligned:
    """The papers that all of `spaces` have, by their normal ids, in the order of the first space.

    Raises NothingInCommon, which shows ids of each, where there are none; OptionError where there is no space.
    """
    if not spaces:
        raise OptionError("expected at least one space, found none")
    positions = [{id: i for i, id in enumerate(space.ids)} for space in spaces]
    common = [id for id in spaces[0].ids if all(id in known for known in positions[1:])]
    if not common:
        raise nothing_in_common(*((space.name, space.ids) for space in spaces))
    return Aligned(
        spaces=tuple(
            space if len(common) == len(space) and list(space.ids) == common else space.take(_of(known, common))
            for space, known in zip(spaces, positions, strict=True)
        ),
        n_left_out=tuple(len(space) - len(common) for space in spaces),
    )


def _of(positions: Mapping[str, int], ids: Sequence[str]) -> Rows:
    return np.fromiter((positions[id] for id in ids), np.int64, len(ids))
