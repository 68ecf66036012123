"""A Space: what analysis sees of a store. Papers' ids and vectors, without FAISS, keywords or texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedsearch import transform
from embedsearch.corpus import sample_key
from embedsearch.errors import OptionError, StoreError
from embedsearch.scores import Float32, Rows
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.manifest import Generation, build_command, read_manifest
from embedsearch.store.vectors import ShardedVectors


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
    ids: Sequence[str]
    recipe: Mapping[str, Any]
    dim: int
    _rows: Rows
    _vectors: ShardedVectors

    @classmethod
    def open(cls, path: str | Path) -> Space:
        """The space of the store at `path`: of one that is being built, the papers that have vectors.

        Raises StoreNotFound, StoreCorrupt or StoreTooNew; StoreError where no paper has a vector yet.
        """
        folder = Path(path)
        generation = read_manifest(folder).serving
        vectors = open_vectors(folder, generation)
        ids = Catalogue(folder / generation.papers.name).ids()
        all_rows = np.arange(len(ids), dtype=np.int64)
        rows = all_rows[vectors.has(all_rows)]
        if not len(rows):
            raise StoreError(f"expected vectors in {folder}, found none yet; finish it with: {build_command(folder)}")
        recipe = {**generation.recipe, "template": generation.template, "transform": generation.transform}
        chosen = [ids[row] for row in rows]
        return cls(
            name=folder.name,
            model_name=str(generation.model["name"]),
            ids=chosen,
            recipe=recipe,
            dim=vectors.dim,
            _rows=rows,
            _vectors=vectors,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def vectors(self) -> Float32:
        """All vectors: (n, dim) float32, rows of unit length, in the order of `ids`."""
        return self._vectors.rows(self._rows)

    def blocks(self, size: int = 4096) -> Iterator[tuple[int, Float32]]:
        """(position of the first, (up to size, dim) float32) in the order of `ids`: for what does not fit in memory."""
        for first in range(0, len(self._rows), size):
            yield first, self._vectors.rows(self._rows[first : first + size])

    def sample(self, n: int, *, seed: int = 0) -> Space:
        """The n papers with the smallest hash of (seed, id): the same papers in every space that has them.

        Raises OptionError where n is not between 1 and the number of papers.
        """
        if not 1 <= n <= len(self):
            raise OptionError(f"expected a sample of 1 to {len(self):,} papers, found {n:,}")
        keys = np.array([sample_key(id, seed) for id in self.ids], np.uint64)
        chosen = np.sort(np.argsort(keys, kind="stable")[:n])
        return Space(
            name=self.name,
            model_name=self.model_name,
            ids=[self.ids[i] for i in chosen],
            recipe=self.recipe,
            dim=self.dim,
            _rows=self._rows[chosen],
            _vectors=self._vectors,
        )
