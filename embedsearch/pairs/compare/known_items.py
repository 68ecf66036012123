"""Known items: does a paper's title find its abstract in a space?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedsearch.corpus import sample_key
from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, Role, open_encoder
from embedsearch.encoders.models import NAMED_MODELS
from embedsearch.encoders.services import is_service
from embedsearch.encoders.weights import find_local
from embedsearch.errors import ModelNotFound
from embedsearch.keywords import clean
from embedsearch.pairs.compare.neighbours import Positions
from embedsearch.scores import Float32, Float64, unit_rows
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space
from embedsearch.transform import Transform, TransformSpec, fit, load

SEED = 0
"""Of the titles: the same ones whatever sample of papers they must find their own among."""
BLOCK = 4096
"""Papers whose cosines with all queries are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownItems:
    """Titles as queries: `queries` (q, d) float32 of unit length, `positions` (q,) of the papers that answer them."""

    queries: Float32
    positions: Positions

    def centred(self, mean: Float64) -> KnownItems:
        """In the space less its `mean` (d,), as its papers are."""
        return KnownItems(queries=unit_rows(self.queries.astype(np.float64) - mean), positions=self.positions)


def reciprocal_ranks(items: KnownItems, vectors: Float32, *, k: int = 10) -> Float64:
    """1 / rank of each query's paper among unit rows (n, d), 0 beyond k: (q,) float64, the mean of which is MRR@k.

    Voorhees (1999), TREC-8. Exact, dense, among all n papers; a paper of an equal cosine (float32) counts as before it.
    """
    queries = items.queries.astype(np.float64)
    right = np.einsum("ij,ij->i", queries, vectors[items.positions].astype(np.float64)).astype(np.float32)
    rank = np.zeros(len(queries), np.int64)
    for first in range(0, len(vectors), BLOCK):
        cosines = (queries @ vectors[first : first + BLOCK].astype(np.float64).T).astype(np.float32)
        here = items.positions - first
        mine = np.flatnonzero((here >= 0) & (here < cosines.shape[1]))
        cosines[mine, here[mine]] = right[mine]  # summed in another order, its own could differ in the last bit
        rank += (cosines >= right[:, None]).sum(axis=1)
    return np.where(rank <= k, 1 / rank, 0.0)


def model_is_here(folder: Path) -> bool:
    """Whether the encoder of the store in `folder` can be opened without fetching gigabytes or paying a service."""
    try:
        spec = ModelSpec.from_dict(read_manifest(folder).serving.model)
        if is_service(spec):
            return False
        named = NAMED_MODELS.get(spec.name)
        return find_local(named) is not None if named else Path(spec.name).expanduser().exists()
    except (OSError, KeyError, TypeError, ValueError):
        return False  # no store, or vectors from elsewhere: nothing to open


def known_items(
    folder: Path,
    space: Space,
    *,
    n_titles: int = 500,
    encoder: Encoder | None = None,
    compute: Compute | None = None,
) -> KnownItems | None:
    """Titles of the store in `folder`, encoded as queries into `space`, which was opened from it; None without titles.

    Of the papers of `space` that have a title, the `n_titles` with the smallest hash. What the store, and then the
    caller, applied to the space is applied to them: a transform that was fitted on the papers is fitted once more.
    Raises whatever reading the store and opening its encoder raise.
    """
    generation = read_manifest(folder).serving
    catalogue = Catalogue(folder / generation.papers.name)
    row_of = dict(zip(catalogue.ids(), catalogue.rows().tolist(), strict=True))
    order = sorted(range(len(space)), key=lambda i: sample_key(space.ids[i], SEED))
    positions, texts = _titles(
        catalogue, [(i, row_of[space.ids[i]]) for i in order if space.ids[i] in row_of], n_titles
    )
    if not texts:
        return None
    if encoder is None:
        spec = ModelSpec.from_dict(generation.model)
        if is_service(spec):
            raise ModelNotFound(f"expected a model of this machine for the titles, found the service's {spec.name}")
        encoder = open_encoder(spec, compute=compute, expected=Recipe.from_dict(generation.recipe))
    queries = encoder.encode(texts, role=Role.QUERY)
    for transform in _transforms(folder, generation, space):
        queries = transform.apply(queries)
    return KnownItems(queries=queries, positions=np.array(positions, np.int64))


def _titles(catalogue: Catalogue, candidates: Sequence[tuple[int, int]], n: int) -> tuple[list[int], list[str]]:
    """Positions and titles of the first n of (position, row) that have one."""
    positions: list[int] = []
    texts: list[str] = []
    for first in range(0, len(candidates), n):
        some = candidates[first : first + n]
        for (position, _), stored in zip(some, catalogue.papers(np.array([row for _, row in some])), strict=True):
            if title := clean(stored.title):
                positions.append(position)
                texts.append(title)
        if len(texts) >= n:
            break
    return positions[:n], texts[:n]


def _transforms(folder: Path, generation: Generation, space: Space) -> list[Transform]:
    """What leads from the encoder's vectors to the space's."""
    stored = load(folder / generation.transform_file.name) if generation.transform_file else None
    applied = [kind for kind in str(space.recipe.get("transform") or "").split(", ") if kind]
    later = applied[1:] if generation.transform else applied
    transforms = [stored] if stored else []
    if later:
        base = Space.open(folder)
        position_of = {id: i for i, id in enumerate(base.ids)}
        base = base.take(np.array([position_of[id] for id in space.ids]))
        for kind in later:
            transforms.append(fit(TransformSpec.parse(kind), base.blocks(), dim=base.dim))
            base = base.transformed(kind)
    return transforms
