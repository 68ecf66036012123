"""One state of a store, opened for searching: where candidates come from and how they are scored."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np

from embedsearch.ann import AnnIndex, AnnKind, ExactScan, faiss_package
from embedsearch.corpus import doi_of, is_arxiv_id, normal_id
from embedsearch.errors import PaperNotFound, QueryError, StoreCorrupt, StoreError
from embedsearch.keywords import KeywordQuery, Keywords
from embedsearch.scores import Float32, Mask, Rows, cosines
from embedsearch.search.modes import Mode
from embedsearch.search.scored import Scored, are_settled, mixed
from embedsearch.store.atomic import file_hash
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import REPAIR, Manifest, build_command
from embedsearch.store.space import open_vectors

log = logging.getLogger("embedsearch")

FIRST_LISTED = 40
"""Papers of each list that a hybrid search begins with, 4 k for more hits: of 300 queries to 10,000 papers, 289 need no
more for ten hits, and all of them go by 160."""

SCANNED_ROWS = 20_000
"""Up to so many allowed papers are scanned one by one: cheaper than an index, and always exact."""


class StoreView:
    """One state of the store, opened. Parts that a query may not need are opened when one does."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.generation = manifest.serving
        self.catalogue = Catalogue(folder / self.generation.papers.name)
        self.vectors = open_vectors(folder, self.generation)
        self.n_papers = self.generation.n_papers
        self._keywords: Keywords | None = None
        self._ann: AnnIndex | None = None
        self._lock = threading.Lock()

    @property
    def keywords(self) -> Keywords:
        with self._lock:
            if self._keywords is None:
                self._keywords = self._open_keywords()
            return self._keywords

    def open_all(self) -> None:
        """Open every part now. No vector is read."""
        _ = self.keywords, self.ann
        self.vectors.open_all()

    @property
    def ann(self) -> AnnIndex:
        with self._lock:
            if self._ann is None:
                self._ann = self._open_ann()
            return self._ann

    def _open_keywords(self) -> Keywords:
        files = {Path(entry.name).name: entry for entry in self.generation.keywords}
        opened = Keywords((self.folder / self.generation.keywords[0].name).parent)
        # Its name holds no hash: where the store's folder was renamed meanwhile, another's may lie there.
        meta = files.get("meta.json")
        if meta is not None and self._hash(self.folder / meta.name) != meta.sha256:
            raise StoreCorrupt(f"expected {self.folder / meta.name} as it was written, found other bytes; {REPAIR}")
        return opened

    def _open_ann(self) -> AnnIndex:
        note = self.generation.ann
        if note is None:
            return ExactScan(self.vectors)
        if faiss_package() is None:
            log.warning("FAISS is not installed: searching all vectors, exactly; pip install 'embedsearch[cpu]'")
            return ExactScan(self.vectors)
        path = self.folder / note.file.name
        if self._hash(path) != note.file.sha256:
            raise StoreCorrupt(f"expected {path} as it was written, found other bytes; {REPAIR}")
        from embedsearch.ann import faiss_index  # here: faiss takes 0.1 s and keyword search does without

        return faiss_index.load(path, AnnKind(note.kind))

    def _hash(self, path: Path) -> str:
        try:
            return file_hash(path)
        except FileNotFoundError:
            raise StoreCorrupt(f"expected {path}, found no such file; {REPAIR}") from None

    def mask(self, filters: Filters | None) -> Mask | None:
        return self.catalogue.allowed(filters) if filters else None

    def named(self, query: str, *, warn: bool = True) -> int | None:
        """The row of the paper that a query names by id, address or DOI."""
        doi = doi_of(query)
        if doi is not None and (row := self.catalogue.row_of_doi(doi)) is not None:
            return row
        id = normal_id(query).id
        looks_like_one = is_arxiv_id(id) or (" " not in id and any(c.isdigit() for c in id))
        row = self.catalogue.row_of(id) if looks_like_one else None
        if row is None and warn and is_arxiv_id(id):
            log.warning("this index holds no paper %s; searching for it as text", id)
        return row

    def row_of(self, id: str) -> int:
        """The row of a paper by its id in any form. Raises PaperNotFound."""
        row = self.catalogue.row_of(normal_id(id).id)
        if row is None:
            raise PaperNotFound(
                f"expected the id of one of the {self.n_papers:,} papers in {self.folder}, found {id!r}"
            )
        return row

    def vector_of(self, row: int, id: str) -> Float32:
        if not self.vectors.has(np.array([row]))[0]:
            raise QueryError(
                f"expected {id} to have a vector, found none yet: finish the index with {build_command(self.folder)}"
            )
        vector: Float32 = self.vectors.rows(np.array([row]))[0]
        return vector

    def into_space(self, vectors: Float32) -> Float32:
        return self.vectors.transform.apply(vectors) if self.vectors.transform else vectors

    def dense(self, query: Float32 | None, k: int, mask: Mask | None) -> Scored:
        if query is None or not self.vectors.n_rows:
            raise StoreError(
                f"expected vectors in {self.folder}, found none yet: finish it with {build_command(self.folder)}"
            )
        rows = self._nearest(query, k, mask)
        scores = cosines(query, self.vectors.rows(rows))
        return Scored(rows, scores, scores)

    def keyword(self, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
        rows, scores = self.keywords.candidates(words, k, allowed=mask)
        return Scored(rows, scores, np.full(len(rows), np.nan, np.float32))

    def and_alike(self, row: int, k: int, mask: Mask | None, mode: Mode) -> Scored:
        """The paper of this row, and those nearest to it."""
        if mode is Mode.KEYWORD or not self.vectors.has(np.array([row]))[0]:
            rows = np.array([row] if mask is None or mask[row] else [], np.int64)
            return Scored(rows, np.ones(len(rows), np.float32), np.full(len(rows), np.nan, np.float32))
        return self.dense(self.vectors.rows(np.array([row]))[0], k, mask)

    def by(self, mode: Mode, query: Float32 | None, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
        """The best k by a mode, their ties, and more."""
        if mode is Mode.KEYWORD:
            return self.keyword(words, k, mask)
        return self.dense(query, k, mask) if mode is Mode.DENSE else self.hybrid(query, words, k, mask)

    def including(
        self, rows: list[int], scored: Scored, mode: Mode, query: Float32 | None, words: KeywordQuery
    ) -> Scored:
        """`scored` with those of `rows` that it lacks, scored in the same way."""
        if not rows:
            return scored
        missing = np.setdiff1d(np.array(rows, np.int64), scored.rows)
        if mode is Mode.DENSE:
            missing = missing[self.vectors.has(missing)]
        if not len(missing):
            return scored
        bm25 = self.keywords.bm25(words, missing)
        more = self._both(query, missing, bm25, self.keywords.best(words))
        scores = {Mode.DENSE: more.cosines, Mode.HYBRID: more.scores, Mode.KEYWORD: bm25}
        return Scored(
            np.concatenate([scored.rows, missing]),
            np.concatenate([scored.scores, scores[mode]]),
            np.concatenate([scored.cosines, more.cosines]),
        )

    def quoted(self, words: KeywordQuery, mask: Mask | None) -> Mask | None:
        """`mask` without the papers that lack what the query has in quotation marks."""
        having = self.keywords.quoted(words, self.n_papers)
        if having is None or mask is None:
            return mask if having is None else having
        return mask & having

    def titled(self, query: str, mask: Mask | None) -> list[int]:
        """The allowed rows of the papers whose whole title the query is."""
        return [row for row in self.catalogue.rows_of_title(query) if mask is None or mask[row]]

    def hybrid(self, query: Float32 | None, words: KeywordQuery, k: int, mask: Mask | None) -> Scored:
        """The best k by w cosine + (1 - w) BM25 / best BM25, from the first m of both lists.

        No paper beyond them can score more than the m-th of each would together (Fagin's threshold algorithm, 2001):
        m grows until the k-th hit is above that, so the answer does not depend on m.
        """
        n_allowed = self.n_papers if mask is None else int(mask.sum())
        m = max(FIRST_LISTED, 4 * k)
        while True:
            listed = self.keywords.candidates(words, m, allowed=mask)
            best = float(listed[1].max(initial=0.0)) if mask is None else self.keywords.best(words)
            if query is not None and best == 0.0:
                return self.dense(query, k, mask)
            near = self._nearest(query, m, mask) if query is not None else np.empty(0, np.int64)
            rows = np.union1d(near, listed[0])
            scored = self._both(query, rows, self._bm25(words, rows, listed, m), best)
            # Without a vector, a paper that has no word of the query either has nothing to be found by.
            exhausted = len(rows) >= n_allowed or (query is None and len(listed[0]) < m)
            if exhausted or m >= n_allowed or are_settled(scored, near, listed[1], best, m=m, k=k):
                return scored
            m *= 4

    def _bm25(self, words: KeywordQuery, rows: Rows, listed: tuple[Rows, Float32], m: int) -> Float32:
        """BM25 of `rows` (n,), sorted, among which are the best m and their ties, `listed` with their BM25."""
        bm25, missing = np.zeros(len(rows), np.float32), np.ones(len(rows), bool)
        at = np.searchsorted(rows, listed[0])
        bm25[at], missing[at] = listed[1], False
        if len(listed[0]) >= m and missing.any():  # fewer than m: no other paper has a word of the query
            bm25[missing] = self.keywords.bm25(words, rows[missing])
        return bm25

    def _both(self, query: Float32 | None, rows: Rows, bm25: Float32, best: float) -> Scored:
        return mixed(rows, self._cosines(query, rows), bm25, best)

    def _cosines(self, query: Float32 | None, rows: Rows) -> Float32:
        """NaN where there is no vector."""
        if query is not None and (has := self.vectors.has(rows)).all():
            return cosines(query, self.vectors.rows(rows))
        cosine = np.full(len(rows), np.nan, np.float32)
        if query is not None:
            cosine[has] = cosines(query, self.vectors.rows(rows[has]))
        return cosine

    def _nearest(self, query: Float32, k: int, mask: Mask | None) -> Rows:
        """Rows that hold the k allowed ones of highest cosine, and more."""
        if mask is not None:
            rows = np.flatnonzero(mask)
            rows = rows[self.vectors.has(rows)]
            if len(rows) <= max(SCANNED_ROWS, k):
                return rows
            mask = np.zeros(self.n_papers, bool)
            mask[rows] = True
        return self.ann.candidates(query[None], k, allowed=mask)[0]
