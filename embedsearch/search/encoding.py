"""What embeds the queries of a store."""

from __future__ import annotations

import logging
from pathlib import Path

from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.errors import ModelNotFound, RecipeMismatch
from embedsearch.store.manifest import Generation

log = logging.getLogger("embedsearch")


def encoder_of(generation: Generation, *, model: ModelSpec | None, compute: Compute) -> Encoder:
    """The encoder of a store's recipe, or `model` where the store does not know what made its vectors.

    Raises ModelNotFound where neither says; RecipeMismatch where `model` cannot have made them.
    """
    note = generation.vectors
    if not generation.has_encoder and (model is None or (note is not None and note.changed)):
        raise ModelNotFound(
            f"expected a model to embed the query with, found none: {why_none(generation)}; --mode keyword and"
            " --like ID work without"
        )
    spec = model or ModelSpec.from_dict(generation.model)
    expected = Recipe.from_dict(generation.recipe) if generation.has_encoder else None
    encoder = open_encoder(spec, compute=compute, expected=expected)
    check_recipe(generation, encoder)
    stated = str(generation.model["name"])
    if not generation.has_encoder and spec.name not in stated and stated not in spec.name:
        log.warning(
            "queries are embedded by %s, and %s calls itself %s: similarities mean something only if these are one",
            spec.name,
            _origin(generation),
            stated,
        )
    return encoder


def check_recipe(generation: Generation, encoder: Encoder) -> None:
    """Raise RecipeMismatch for an encoder whose vectors cannot be compared with those of the store."""
    if generation.has_encoder:
        if differences := Recipe.from_dict(generation.recipe).differences(encoder.recipe):
            raise RecipeMismatch(f"expected the encoder that made the index, found another: {'; '.join(differences)}")
    elif generation.dim not in (None, encoder.dim):  # nothing else is known of it
        raise RecipeMismatch(
            f"expected a model that makes vectors of {generation.dim} numbers, as the index has them, found one of"
            f" {encoder.dim}"
        )


def why_none(generation: Generation) -> str:
    """Why the queries of a store without a known model cannot be embedded, and what helps."""
    note = generation.vectors
    if note is not None and note.changed:
        return f"the vectors were taken from {_origin(generation)} after a transform ({note.changed})"
    return (
        f"the vectors were taken from {_origin(generation)}, which does not say how they were made; name the model with"
        " --model"
    )


def _origin(generation: Generation) -> str:
    note = generation.vectors
    return Path(note.source).name if note is not None and note.source else "arrays in Python"
