"""One state of a store: its files, each checked when it is opened, and its papers by what names them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from embedsearch.ann import AnnIndex, ExactScan, faiss_package
from embedsearch.corpus import doi_of, is_arxiv_id, normal_id
from embedsearch.errors import PaperNotFound, QueryError, StoreCorrupt
from embedsearch.keywords import KeywordQuery, Keywords
from embedsearch.scores import Float32, Mask, Rows, at_least_kth, cosines
from embedsearch.search.asking import log as query_log
from embedsearch.search.modes import HYBRID_WEIGHT
from embedsearch.store.atomic import file_identity
from embedsearch.store.catalogue import Catalogue
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import MANIFEST_NAME, REPAIR, Manifest, build_command, check_hash, read_manifest
from embedsearch.store.space import open_vectors

log = logging.getLogger("embedsearch")

OPENINGS = 5
"""How often opening is begun anew where the store is changed or renamed meanwhile."""

SCANNED_ROWS = 20_000
"""Up to so many allowed papers are scanned one by one: cheaper than an index, and always exact."""

ASKED_AT_ONCE = 256
"""So many vectors are asked of an index at a time."""

SCANNED_FROM = 64
"""From so many vectors on, all rows are looked at once rather than an exact index asked for each: the ten best of
100,000 papers took 3.6 s for 1.4 with 100, 0.8 s for 1.2 with 32, on two busy cores."""

NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Around:
    """What a query is compared with: `near` (m,), the rows that are near it, are some of `rows` (n,), sorted.

    `cosines` (n,) float32 is NaN where a row has no vector.
    """

    near: Rows
    rows: Rows
    cosines: Float32

    @classmethod
    def of_words(cls, rows: Rows) -> Around:
        """Rows that were found by words, where there is no vector to compare them with."""
        return cls(NO_ROWS, np.sort(rows), np.full(len(rows), np.nan, np.float32))

    @property
    def near_cosines(self) -> Float32:
        """Those of `near`: (m,)."""
        return self.cosines[np.searchsorted(self.rows, self.near)]

    def best(self, k: int, others: Rows) -> Around:
        """The best k of `near` and their ties, with `others`, which are some of `rows`."""
        near = self.near[at_least_kth(self.near_cosines, k)]
        kept = np.zeros(len(self.rows), bool)
        kept[np.searchsorted(self.rows, near)] = kept[np.searchsorted(self.rows, others)] = True
        return Around(near, self.rows[kept], self.cosines[kept])


class StoreView:
    """One state of the store, opened. Parts that a query may not need are opened when one does. Thread-safe."""

    @classmethod
    def open(cls, folder: Path, *, make: Callable[[Path, Manifest], StoreView] | None = None) -> StoreView:
        """The state that the store at `folder` has now, as `make` has it. Raises StoreNotFound, StoreCorrupt or
        StoreTooNew."""
        for _ in range(OPENINGS):
            before, manifest_before = file_identity(folder), file_identity(folder / MANIFEST_NAME)
            try:
                view = (make or cls)(folder, read_manifest(folder))
            except StoreCorrupt:
                # Files may have gone with a state that was the newest a moment ago.
                if (before, manifest_before) == (file_identity(folder), file_identity(folder / MANIFEST_NAME)):
                    raise
                continue
            if file_identity(folder) == before:  # else some files may be another store's, of the same name
                return view
        raise StoreCorrupt(f"expected an index at {folder}, found that it is renamed all the time")

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.generation = manifest.serving
        self.catalogue = Catalogue(folder / self.generation.papers.name)
        self.vectors = open_vectors(folder, self.generation)
        self.n_papers = self.generation.n_papers
        self.n_rows = self.generation.n_rows
        self._keywords: Keywords | None = None
        self._ann: AnnIndex | None = None
        self._lock = threading.Lock()

    @cached_property
    def live(self) -> Mask | None:
        """Which rows are papers' (n_rows,); None where none is dead."""
        if not self.generation.n_dead:
            return None
        mask = np.zeros(self.n_rows, bool)
        mask[self.catalogue.rows()] = True
        return mask

    def everything(self) -> Mask:
        """The rows of all papers: (n_rows,). The caller may change it."""
        return np.ones(self.n_rows, bool) if self.live is None else self.live.copy()

    @property
    def hybrid_weight(self) -> float:
        """The cosine's in a hybrid score: the store's own, if it has one."""
        own = self.generation.hybrid_weight
        return HYBRID_WEIGHT if own is None else own

    @property
    def keywords(self) -> Keywords:
        """The keyword index."""
        with self._lock:
            if self._keywords is None:
                self._keywords = self._open_keywords()
            return self._keywords

    @property
    def ann(self) -> AnnIndex:
        """What proposes rows by meaning."""
        with self._lock:
            if self._ann is None:
                self._ann = self._open_ann()
            return self._ann

    def open_all(self) -> None:
        """Open every part now. No vector is read."""
        _ = self.keywords, self.ann
        self.vectors.open_all()

    def _open_keywords(self) -> Keywords:
        opened = Keywords((self.folder / self.generation.keywords[0].name).parent)
        meta = next((entry for entry in self.generation.keywords if Path(entry.name).name == "meta.json"), None)
        if meta is not None:  # it names the other files, whose names are never used again
            check_hash(self.folder, meta)  # names without a hash may be another store's, where the folder was renamed
        return opened

    def _open_ann(self) -> AnnIndex:
        note = self.generation.ann
        if note is None:
            return ExactScan(self.vectors)
        if faiss_package() is None:
            log.warning("FAISS is not installed: searching all vectors, exactly; pip install 'embedsearch[cpu]'")
            return ExactScan(self.vectors)
        path = self.folder / note.file.name
        before = file_identity(path)
        check_hash(self.folder, note.file)  # first: of damaged files FAISS may make anything
        from embedsearch.ann import faiss_index  # here: faiss takes 0.1 s and keyword search does without

        opened = faiss_index.load(path, note)
        if file_identity(path) != before:
            raise StoreCorrupt(f"expected {path} as it was written, found another file; {REPAIR}")
        return opened

    def mask(self, filters: Filters | None) -> Mask | None:
        """Which rows pass the filters; None where there are none. The caller may change it."""
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
            query_log.warning("this index holds no paper %s; searching for it as text", id)
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
        """(dim,). Raises QueryError for a paper that has none yet."""
        if not self.vectors.has(np.array([row]))[0]:
            raise QueryError(
                f"expected {id} to have a vector, found none yet: finish the index with {build_command(self.folder)}"
            )
        vector: Float32 = self.read(np.array([row]))[0]
        return vector

    def read(self, rows: Rows) -> Float32:
        """Vectors of `rows` (m,), each of which has one: (m, dim)."""
        return self.vectors.rows(rows)

    def cosines(self, query: Float32, rows: Rows) -> Float32:
        """Of `query` (dim,) with each of `rows` (n,): (n,), NaN where there is no vector."""
        has = self.vectors.has(rows)
        if has.all():
            return cosines(query, self.read(rows))
        found = np.full(len(rows), np.nan, np.float32)
        found[has] = cosines(query, self.read(rows[has]))
        return found

    def around(self, query: Float32, k: int, mask: Mask | None, *, others: Rows = NO_ROWS) -> Around:
        """Rows that hold the k allowed ones of highest cosine with `query` (dim,), and more; with them `others`."""
        near = self.nearest(query, k, mask)
        rows = np.union1d(near, others)
        return Around(near, rows, self.cosines(query, rows))

    def nearest(self, query: Float32, k: int, mask: Mask | None) -> Rows:
        """Rows that hold the k allowed ones of highest cosine, and more."""
        if mask is not None:
            rows = np.flatnonzero(mask)
            rows = rows[self.vectors.has(rows)]
            if len(rows) <= max(SCANNED_ROWS, k):
                return rows
            mask = np.zeros(self.n_rows, bool)
            mask[rows] = True
        return self.ann.candidates(query[None], k, allowed=self.live if mask is None else mask)[0]

    def nearest_of_each(self, queries: Float32, k: int, mask: Mask) -> Rows:
        """Rows that hold the k allowed ones nearest to each of `queries` (m, dim), and more: sorted.

        Where the index is exact, all that tie with the k-th are among them.
        """
        rows = np.flatnonzero(mask)
        rows = rows[self.vectors.has(rows)]
        if len(rows) <= max(SCANNED_ROWS, k) or (len(queries) >= SCANNED_FROM and self.ann.exact):
            return rows
        allowed, found = np.zeros(self.n_rows, bool), NO_ROWS
        allowed[rows] = True
        for start in range(0, len(queries), ASKED_AT_ONCE):
            near = self.ann.candidates(queries[start : start + ASKED_AT_ONCE], k, allowed=allowed)
            found = np.union1d(found, np.concatenate(near))
        return found

    def into_space(self, vectors: Float32) -> Float32:
        """What the encoder made, as the store has it: its transform applied."""
        return self.vectors.transform.apply(vectors) if self.vectors.transform else vectors

    def quoted(self, words: KeywordQuery, mask: Mask | None) -> Mask | None:
        """`mask` without the papers that lack what the query has in quotation marks."""
        having = self.keywords.quoted(words, self.n_rows)
        if having is None or mask is None:
            return mask if having is None else having
        return mask & having

    def titled(self, query: str, mask: Mask | None) -> list[int]:
        """The allowed rows of the papers whose whole title the query is."""
        return [row for row in self.catalogue.rows_of_title(query) if mask is None or mask[row]]
