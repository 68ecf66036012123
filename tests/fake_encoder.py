"""An encoder whose vectors a reader can compute: how often each of eight words stands in the text, at unit length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders import Encoded, Pooling, Prepared, Recipe, Role
from embedsearch.errors import BadVector
from embedsearch.scores import unit_rows

WORDS = ("star", "galaxy", "planet", "plasma", "dust", "wave", "gas")
"""Component i counts the i-th word; the eighth is 1 in a text that has none of them, else 0."""


class FakeEncoder:
    """Counts words: "star star gas" becomes (2, 0, 0, 0, 0, 0, 1, 0) / sqrt(5).

    A token is a word between blanks. `name` stands in the recipe, so that two names are two models. A text that holds
    "NAN" gets a vector of NaN, and so a BadVector; `fail_at` n raises `failure` at the n-th text (from 0, counted over
    all calls), before anything of its call is returned. `n_calls`, `n_texts` and `n_queries` count.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        max_tokens: int = 512,
        batch: int = 64,
        fail_at: int | None = None,
        failure: BaseException | None = None,
    ) -> None:
        self.n_calls = self.n_texts = self.n_queries = 0
        self._batch = batch
        self._fail_at = fail_at
        self._failure = failure or RuntimeError("the encoder was told to fail")
        self._recipe = Recipe(
            weights=hashlib.sha256(name.encode()).hexdigest(),
            tokenizer=hashlib.sha256(b"words").hexdigest(),
            config=hashlib.sha256(b"counts").hexdigest(),
            pooling=Pooling.MEAN,
            max_tokens=max_tokens,
        )

    @property
    def recipe(self) -> Recipe:
        return self._recipe

    @property
    def dim(self) -> int:
        return len(WORDS) + 1

    @property
    def made_with(self) -> Mapping[str, Any]:
        return {"device": "fake", "dtype": "float32", "token_budget": self._batch}

    def prepare(self, texts: Sequence[str], *, role: Role) -> Prepared:
        n_tokens = np.array([len(text.split()) for text in texts], dtype=np.int64)
        self.n_queries += len(texts) if role is Role.QUERY else 0
        return Prepared(n_tokens=n_tokens, truncated=n_tokens > self._recipe.max_tokens, content=list(texts))

    def encode_prepared(self, prepared: Prepared, *, progress: Callable[[int, int], None] | None = None) -> Encoded:
        texts: list[str] = prepared.content
        self.n_calls += 1
        if self._fail_at is not None and self.n_texts <= self._fail_at < self.n_texts + len(texts):
            raise self._failure
        self.n_texts += len(texts)
        if progress is not None:
            for start in range(0, len(texts), self._batch):
                batch = prepared.n_tokens[start : start + self._batch]
                progress(len(batch), int(batch.sum()))
        counts = np.array([self._counts(text) for text in texts], dtype=np.float32).reshape(-1, self.dim)
        bad = np.flatnonzero(np.isnan(counts).any(axis=1))
        if len(bad):
            raise BadVector(f"expected finite vectors, found NaN at position {bad[0]}", position=int(bad[0]))
        return Encoded(vectors=unit_rows(counts), n_tokens=prepared.n_tokens, truncated=prepared.truncated)

    def encode_counted(
        self, texts: Sequence[str], *, role: Role, progress: Callable[[int, int], None] | None = None
    ) -> Encoded:
        return self.encode_prepared(self.prepare(texts, role=role), progress=progress)

    def encode(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        return self.encode_counted(texts, role=role).vectors

    def _counts(self, text: str) -> list[float]:
        if "NAN" in text:
            return [np.nan] * self.dim
        words = text.lower().split()[: self._recipe.max_tokens]
        counts = [float(words.count(word)) for word in WORDS]
        return [*counts, float(not any(counts))]
