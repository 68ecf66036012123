"""The papers behind the ids of a space: titles, categories, and how rare a word is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedsearch.encoders import Compute, Encoder
from embedsearch.errors import PaperNotFound
from embedsearch.pairs.divergent.reasons import shared_terms
from embedsearch.records import SharedTerm
from embedsearch.scores import Float32, Mask
from embedsearch.search import Searcher
from embedsearch.search.view import StoreView
from embedsearch.store.catalogue import StoredPaper
from embedsearch.store.filters import Filters
from embedsearch.texts import Template


class KnownPapers:
    """Papers of a store by id."""

    def __init__(self, folder: Path, *, compute: Compute | None = None) -> None:
        """See `open`."""
        self.folder = folder
        self._compute = compute
        self._view = StoreView.open(folder)

    @classmethod
    def open(cls, *paths: str | Path, compute: Compute | None = None) -> KnownPapers | None:
        """The known_papers of the first of `paths` that is a store; None where all are files of vectors."""
        folder = next((Path(path) for path in paths if Path(path).is_dir()), None)
        return cls(folder, compute=compute) if folder else None

    def papers(self, ids: Sequence[str]) -> dict[str, StoredPaper]:
        """Those of `ids` that the store holds."""
        rows = [row for id in dict.fromkeys(ids) if (row := self._view.catalogue.row_of(id)) is not None]
        found: dict[str, StoredPaper] = {}
        for start in range(0, len(rows), 10_000):  # a statement of SQLite has a limit
            for stored in self._view.catalogue.papers(np.array(rows[start : start + 10_000])):
                found[stored.paper.id] = stored
        return found

    def in_categories(self, ids: Sequence[str], patterns: Sequence[str]) -> Mask:
        """Which of `ids` are in a category that one of `patterns` (`astro-ph*`) matches: (n,) bool."""
        catalogue = self._view.catalogue
        allowed = catalogue.allowed(Filters(categories=tuple(patterns)))
        wanted = set(catalogue.ids(np.flatnonzero(allowed))) if allowed.sum() < len(allowed) else None
        if wanted is None:
            return np.ones(len(ids), bool)
        return np.array([id in wanted for id in ids], bool)

    def with_title(self, title: str) -> list[str]:
        """The ids of the papers of this title, whatever its case, accents, LaTeX and punctuation."""
        rows = self._view.catalogue.rows_of_title(title)
        return self._view.catalogue.ids(np.array(rows)) if rows else []

    def n_with(self, word: str) -> int:
        """How many papers have a word of `keywords.words_of`, from its idf log(1 + n / (1 + n_with))."""
        keywords = self._view.keywords
        return round(len(keywords) / math.expm1(keywords.rarity(word))) - 1

    def shared(self, first: StoredPaper, second: StoredPaper) -> tuple[SharedTerm, ...]:
        """The rare terms of both papers' abstracts."""
        return shared_terms(first.abstract, second.abstract, n_with=self.n_with, n_papers=self._view.n_papers)

    def encoder(self) -> Encoder:
        """The encoder of the store's recipe. Raises ModelNotFound, RecipeMismatch or MissingExtra."""
        return Searcher.open(self.folder, compute=self._compute).encoder

    def text(self, id: str) -> str:
        """What was embedded of a paper. Raises PaperNotFound."""
        found = self.papers([id])
        if id not in found:
            raise PaperNotFound(f"expected a paper of {self.folder}, found {id!r}")
        return Template.parse(self._view.generation.template).render(found[id].paper)

    def into_space(self, vectors: Float32) -> Float32:
        """Vectors of the encoder after the store's own transform."""
        return self._view.into_space(vectors)
