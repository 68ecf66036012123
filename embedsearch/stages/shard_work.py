"""Computing single shards of a store that was begun, by a process that does not hold the store's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

from embedsearch.encoders import Encoder, Recipe, Role
from embedsearch.errors import RecipeMismatch, StoreError
from embedsearch.stages.embed import texts_of
from embedsearch.stages.receipts import Receipt, drop_of, hand_in
from embedsearch.store.generation import Generation
from embedsearch.store.manifest import read_manifest

IN_FLIGHT = 2
"""Shards that a worker is given at once: one is read and tokenised while the other is in the model."""

Opener = Callable[[], Encoder]
"""Opens a worker's own encoder; it can be pickled."""


class ShardWorker:
    """Call it with the first row of a shard: embeds it, hands it in, and returns the receipt.

    Thread-safe: two threads that call it keep the model busy. The model runs in one thread of its own, since OpenMP
    would start another set of threads for each that calls it. It is handed in under `drop`, a folder or a URL, else
    in the store's own folder.

    Raises BadVector, which names the paper, and StoreError.
    """

    def __init__(self, folder: Path, generation: Generation, encoder: Encoder, *, drop: str | None = None) -> None:
        if differences := Recipe.from_dict(generation.recipe).differences(encoder.recipe):
            raise RecipeMismatch(f"expected the model that {folder} was begun with, found {'; '.join(differences)}")
        self._generation = generation
        self._encoder = encoder
        self._texts = texts_of(folder, generation)
        self._drop = drop_of(folder, generation, drop)
        self._drop.begin()
        self._reading = threading.Lock()
        self._model = ThreadPoolExecutor(1)
        self._stopped = False

    @classmethod
    def open(cls, folder: Path, number: int, opener: Opener, drop: str | None = None) -> ShardWorker:
        """A worker for generation `number` of the store at `folder`, with an encoder of its own."""
        generation = read_manifest(folder, check_files=False).pending
        if generation is None or generation.number != number:
            raise StoreError(f"expected generation {number} of {folder} to be unfinished, found that it is not")
        return cls(folder, generation, opener(), drop=drop)

    def __call__(self, first: int) -> Receipt:
        """The shard that begins at row `first`."""
        with self._reading:
            prepared = self._encoder.prepare(self._texts(first), role=Role.DOCUMENT)
        with self._texts.naming(first):
            encoded = self._model.submit(self._encoder.encode_prepared, prepared, progress=self._go_on).result()
        return hand_in(self._drop, self._generation, first, encoded, self._encoder.made_with)

    def stop(self) -> None:
        """Shards in the model end at the batch that they are at, with CancelledError."""
        self._stopped = True

    def _go_on(self, n_texts: int, n_tokens: int) -> None:
        if self._stopped:
            raise CancelledError
