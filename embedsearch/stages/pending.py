"""What a build has yet to embed, for who wants to know its size or price before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedsearch.encoders import Encoder, Role
from embedsearch.scores import Rows
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.generation import Generation
from embedsearch.texts import Template

MOST_COUNTED = 20_000
"""Papers whose tokens are counted; of more, as many at equal distances."""
AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The papers of `generation`, in the store at `folder`, without a vector, and the encoder that will make them."""

    folder: Path
    generation: Generation
    encoder: Encoder

    @property
    def n_papers(self) -> int:
        """How many there are."""
        return self.generation.n_papers - self.generation.n_embedded

    def count_tokens(self) -> tuple[int, bool]:
        """The tokens that the model will take, and whether those of every paper were counted.

        Texts that are longer than the model takes count as its limit.
        """
        n_tokens = n_counted = 0
        limit = self.encoder.recipe.max_tokens
        for texts in self._texts():
            prepared = self.encoder.prepare(texts, role=Role.DOCUMENT)
            n_tokens += int(np.minimum(prepared.n_tokens, limit).sum())
            n_counted += len(texts)
        if n_counted == self.n_papers:
            return n_tokens, True
        return round(n_tokens / n_counted * self.n_papers), False

    def _texts(self) -> Iterator[list[str]]:
        catalogue = Catalogue(self.folder / self.generation.papers.name)
        template = Template.parse(self.generation.template)
        rows = self._rows()
        rows = rows[:: math.ceil(len(rows) / MOST_COUNTED)]
        for start in range(0, len(rows), AT_ONCE):
            yield [template.render(stored.paper) for stored in catalogue.papers(rows[start : start + AT_ONCE])]

    def _rows(self) -> Rows:
        missing = np.ones(self.generation.n_rows, bool)
        for shard in self.generation.shards:
            missing[shard.first_row : shard.first_row + shard.n_rows] = False
        return np.flatnonzero(missing)
