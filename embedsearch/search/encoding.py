"""What embeds the queries of a store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedsearch.encoders import Compute, Encoder, ModelSpec, Recipe, open_encoder
from embedsearch.encoders.services import is_service
from embedsearch.errors import ModelNotFound, RecipeMismatch
from embedsearch.store.generation import Generation

log = logging.getLogger("embedsearch")


class StoreEncoder:
    """The encoder of a store, whichever of its states the queries go to. Thread-safe.

    It is the one that was given, or is opened when it is first needed, and anew for a state of another recipe: vectors
    of two recipes cannot be compared.
    """

    def __init__(self, given: Encoder | None, *, model: ModelSpec | None, compute: Compute) -> None:
        self._given = given
        self._model = model
        self._compute = compute
        self._opened: Encoder | None = None
        self._recipe: Mapping[str, Any] | None = None
        self._lock = threading.Lock()
        self._has_warned = False

    def check(self, generation: Generation) -> None:
        """Raise RecipeMismatch where the encoder that was given did not make the vectors of `generation`."""
        if self._given is not None:
            check_recipe(generation, self._given)

    def is_known(self, generation: Generation) -> bool:
        """Whether queries to `generation` can be embedded: it names its model, or the caller did."""
        return self._given is not None or self._model is not None or generation.has_encoder

    def is_service(self, generation: Generation) -> bool:
        """Whether embedding a query costs money."""
        return is_service(self._model or ModelSpec.from_dict(generation.model))

    def of(self, generation: Generation) -> Encoder:
        """The encoder of `generation`. Raises ModelNotFound or RecipeMismatch."""
        if self._given is not None:
            return self._given
        with self._lock:
            if self._opened is None or self._recipe != generation.recipe:
                self._opened = encoder_of(generation, model=self._model, compute=self._compute)
                self._recipe = generation.recipe
            return self._opened

    def warn_of_none(self, generation: Generation) -> None:
        """Say, once, why queries go by words alone."""
        if not self._has_warned:
            self._has_warned = True
            log.warning("searching by words alone: %s", why_none(generation))


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


def why_none(generation: Generation, *, option: str = "--model") -> str:
    """Why the queries of a store without a known model cannot be embedded, and what helps: `option`."""
    note = generation.vectors
    if note is not None and note.changed:
        return f"the vectors were taken from {_origin(generation)} after a transform ({note.changed})"
    return (
        f"the vectors were taken from {_origin(generation)}, which does not say how they were made; name the model with"
        f" {option}"
    )


def _origin(generation: Generation) -> str:
    note = generation.vectors
    return Path(note.source).name if note is not None and note.source else "arrays in Python"
