"""Fills a new catalogue, once."""

from __future__ import annotations

import heapq
from pathlib import Path

from embedsearch.corpus import sample_key
from embedsearch.records import Paper
from embedsearch.store.catalogue_file import SCHEMA, CatalogueFile, database_errors
from embedsearch.store.catalogue_views import checksum_of


class CatalogueWriter(CatalogueFile):
    """Fills a new catalogue: rows in the order of the corpus, a repeated id replaces the earlier record in its row.

    `sample` keeps the n papers with the smallest `sample_key`, whatever their order.
    """

    def __init__(self, path: Path, *, sample: tuple[int, int] | None = None) -> None:
        super().__init__(path)
        self._sample = sample
        self._kept: list[tuple[int, int]] = []  # heap of (-key, row): the largest key on top
        self._next_row = 0
        self._n = 0
        self.n_repeated = 0
        with database_errors(path):
            self.db.executescript(SCHEMA)
            self.db.execute("BEGIN")

    def add(self, paper: Paper, *, text: str) -> bool:
        """Add a paper, whose text to embed is `text`; False if the sample leaves it out."""
        with database_errors(self._path):
            known = self._row_of(paper.id)
            if known is not None:
                self.n_repeated += 1
                self._delete(known)
            elif (known := self._free_row(paper.id)) is None:
                return False
            self._insert(known, paper, text)
            return True

    def discard(self, id: str) -> bool:
        """Take a paper out again, because a later record of it is not wanted; True if it was there."""
        with database_errors(self._path):
            row = self._row_of(id)
            if row is not None:
                self._delete(row)
                self._kept = [entry for entry in self._kept if entry[1] != row]
                heapq.heapify(self._kept)
            return row is not None

    def __len__(self) -> int:
        return self._n

    def finish(self) -> str:
        """Close the gaps in the rows and the file. Returns the checksum over id and text of each row."""
        with database_errors(self._path):
            self._close_gaps(0)
            checksum = checksum_of(self.db, None)
            self.db.execute("COMMIT")
            self.db.execute("ANALYZE")
            self.db.close()
        return checksum

    def _free_row(self, id: str) -> int | None:
        row = self._next_row
        if self._sample is not None:
            n, seed = self._sample
            entry = (-sample_key(id, seed), row)
            if len(self._kept) < n:
                heapq.heappush(self._kept, entry)
            elif entry <= self._kept[0]:
                return None
            else:
                self._delete(heapq.heapreplace(self._kept, entry)[1])
        self._next_row += 1
        return row

    def _delete(self, row: int) -> None:
        super()._delete(row)
        self._n -= 1

    def _insert(self, row: int, paper: Paper, text: str) -> None:
        super()._insert(row, paper, text)
        self._n += 1
