"""Vectors that somebody else made: taken by id, where an encoder would make them of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders import Compute, Encoded, ModelSpec, Pooling, Prepared, Recipe, Role, open_encoder
from embedsearch.errors import OptionError, RecipeMismatch, SpaceError, StoreError
from embedsearch.stages.ingest import is_store, source_of
from embedsearch.store.generation import GIVEN_VECTORS, Generation, VectorsNote
from embedsearch.store.manifest import read_manifest
from embedsearch.store.space import Space


@dataclass(frozen=True, kw_only=True)
class GivenVectors:
    """An Encoder whose texts are ids, and whose vectors are those of a space.

    `spec` and `recipe` are those of the encoder that made them, as far as that is known; `template` is None where it is
    not. `space` is None where nothing will be asked of it.
    """

    spec: ModelSpec
    recipe: Recipe
    dim: int
    template: str | None
    note: VectorsNote
    space: Space | None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {id: i for i, id in enumerate(self.space.ids)} if self.space else {}

    @property
    def ids(self) -> Collection[str]:
        """The papers that have a vector."""
        return self._positions.keys()

    @property
    def made_with(self) -> Mapping[str, Any]:
        """Where the vectors come from."""
        return {"vectors": self.note.source or "given in Python", "model": self.note.model}

    def prepare(self, texts: Sequence[str], *, role: Role) -> Prepared:
        """`texts` are ids, each of which must have a vector."""
        positions = np.fromiter((self._positions[id] for id in texts), np.int64, len(texts))
        return Prepared(
            n_tokens=np.zeros(len(texts), np.int64), truncated=np.zeros(len(texts), bool), content=positions
        )

    def encode_prepared(self, prepared: Prepared, *, progress: Callable[[int, int], None] | None = None) -> Encoded:
        """Read the vectors."""
        assert self.space is not None, "a complete store asks for no vectors"
        vectors = self.space.take(prepared.content).vectors
        if progress is not None:
            progress(len(vectors), 0)
        return Encoded(vectors=vectors, n_tokens=prepared.n_tokens, truncated=prepared.truncated)

    def encode_counted(
        self, texts: Sequence[str], *, role: Role, progress: Callable[[int, int], None] | None = None
    ) -> Encoded:
        """The vectors of ids."""
        return self.encode_prepared(self.prepare(texts, role=role), progress=progress)

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """The vectors of ids."""
        return self.encode_counted(texts, role=role).vectors


def open_given(
    vectors: str | Path | Space,
    *,
    fields: Mapping[str, str],
    model: ModelSpec | str | None = None,
    compute: Compute | None = None,
) -> GivenVectors:
    """The vectors of a store (before its transform), of a file, or of a Space.

    `model` says what made them, where they do not; what they say themselves must agree. Raises as `Space.open` does,
    RecipeMismatch where `model` cannot have made them.
    """
    space, spec = _opened(vectors, fields)
    source, stamp = ("", None) if isinstance(vectors, Space) else source_of(vectors)
    note = VectorsNote(source, stamp, dict(fields), space.model_name, space.recipe.get("transform") or "")
    recipe = _recipe_of(space)
    if model is not None:
        spec, recipe = _by(model, space, recipe, compute)
    elif recipe is None:
        spec, recipe = ModelSpec(name=space.model_name), _unknown(space)
    template = space.recipe.get("template")
    return GivenVectors(
        spec=spec or _spec_of(space.model_name, recipe),
        recipe=recipe,
        dim=space.dim,
        template=template if isinstance(template, str) else None,
        note=note,
        space=space,
    )


def remembered(generation: Generation, *, with_space: bool) -> GivenVectors:
    """The vectors that a store was begun with, opened only if something will be asked of them."""
    note = generation.vectors
    assert note is not None, "somebody else's vectors are noted"
    if with_space and not note.source:
        raise StoreError("expected the vectors that this index was begun with, found none: give them again as vectors=")
    space = _opened(note.source, note.fields)[0] if with_space else None
    return GivenVectors(
        spec=ModelSpec.from_dict(generation.model),
        recipe=Recipe.from_dict(generation.recipe),
        dim=space.dim if space else generation.dim or 0,
        template=generation.template,
        note=note if space is None else msgspec.structs.replace(note, stamp=source_of(note.source)[1]),
        space=space,
    )


def _opened(vectors: str | Path | Space, fields: Mapping[str, str]) -> tuple[Space, ModelSpec | None]:
    if isinstance(vectors, Space):
        return vectors, None
    if not is_store(vectors):
        try:
            return Space.open(vectors, fields=fields), None
        except SpaceError as error:  # beside a corpus, which has fields of its own, the option has another name
            raise SpaceError(str(error).replace("with --field ", "with --vector-field ")) from error
    if fields:
        raise OptionError("expected a file of vectors for --vector-field, found an index: its vectors need no name")
    # Without its transform, which was fitted on other papers: the new store can have one of its own.
    generation = msgspec.structs.replace(read_manifest(Path(vectors)).serving, transform=None, transform_file=None)
    return Space.of_store(Path(vectors), generation), ModelSpec.from_dict(generation.model)


def _recipe_of(space: Space) -> Recipe | None:
    """The encoder's recipe, where the space knows all of it and its vectors are what the encoder made."""
    if space.recipe.get("transform"):
        return None
    try:
        return Recipe.from_dict(space.recipe)
    except (KeyError, TypeError, ValueError):  # a file's, which anybody may have written
        return None


def _by(
    model: ModelSpec | str, space: Space, recipe: Recipe | None, compute: Compute | None
) -> tuple[ModelSpec, Recipe]:
    """The encoder that a user says made the vectors."""
    if changed := space.recipe.get("transform"):
        raise OptionError(
            f"expected vectors as a model makes them, found {space.name} after {changed}: leave --model out, or give"
            " vectors without a transform"
        )
    expected = recipe if recipe is not None and not recipe.weights.startswith(GIVEN_VECTORS) else None
    encoder = open_encoder(model, compute=compute, expected=expected)
    if encoder.dim != space.dim:
        raise RecipeMismatch(
            f"expected vectors of {encoder.dim} numbers, as {encoder.spec.name} makes them, found {space.dim} in"
            f" {space.name}"
        )
    return encoder.spec, encoder.recipe


def _unknown(space: Space) -> Recipe:
    """What stands for a recipe: the vectors themselves, by a hash over ids and rows."""
    digest = hashlib.sha256("\n".join(space.ids).encode("utf-8", "surrogatepass"))
    for _, rows in space.blocks():
        digest.update(rows.tobytes())
    # Nobody knows how these were pooled, either: what is in SERVICE's place is a service, or a person.
    weights = GIVEN_VECTORS + digest.hexdigest()
    return Recipe(weights=weights, tokenizer="", config="", pooling=Pooling.SERVICE, max_tokens=0)


def _spec_of(name: str, recipe: Recipe) -> ModelSpec:
    """What to ask for, so that the model has this recipe."""
    if recipe.pooling is Pooling.SERVICE:
        return ModelSpec(name=name)
    return ModelSpec(
        name=name,
        pooling=recipe.pooling,
        query_prompt=recipe.query_prompt,
        document_prompt=recipe.document_prompt,
        max_tokens=recipe.max_tokens,
    )
