"""The kinds of index that FAISS offers. Imported only where one is built or searched."""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np

from embedsearch.ann.exact import ExactScan
from embedsearch.ann.protocol import AnnKind
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.scores import Float32, Mask, Rows, product_margin
from embedsearch.store.manifest import REPAIR
from embedsearch.store.vectors import ShardedVectors

N_PROBE = 16
RESCORED = 100
TRAINING_ROWS_A_LIST = 64
RECALL_QUERIES = 200

if sys.platform == "darwin":
    # torch and faiss each bring an OpenMP there, and two of them at work in one process crash it.
    faiss.omp_set_num_threads(1)


class FlatIndex:
    """IndexFlat over all vectors in float32."""

    exact = True

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        """See AnnIndex. Asks for more until the last one proposed is below the k-th by more than rounding can hide."""
        margin = 2 * product_margin(self._index.d)
        n_allowed = self._index.ntotal if allowed is None else int(allowed.sum())
        found: list[Rows] = [np.empty(0, np.int64) for _ in queries]
        open_queries, limit = list(range(len(queries))), k + 16
        while open_queries and n_allowed:
            limit = min(limit, n_allowed)
            scores, rows = _search(self._index, queries[open_queries], limit, _selecting(allowed))
            unfinished = []
            for query, its_scores, its_rows in zip(open_queries, scores, rows, strict=True):
                if limit < n_allowed and its_scores[-1] >= its_scores[k - 1] - margin:
                    unfinished.append(query)
                else:
                    found[query] = its_rows[its_scores >= its_scores[min(k, limit) - 1] - margin]
            open_queries, limit = unfinished, limit * 4
        return found


class IvfIndex:
    """Inverted lists of RaBitQ codes (Gao & Long 2024, arXiv:2405.12497)."""

    exact = False

    def __init__(self, index: faiss.IndexIVF) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        """See AnnIndex. Looks into more lists for the queries that found too few."""
        n_allowed = self._index.ntotal if allowed is None else int(allowed.sum())
        limit, enough, n_probe = min(max(RESCORED, 10 * k), n_allowed), min(k, n_allowed), N_PROBE
        found: list[Rows] = [np.empty(0, np.int64) for _ in queries]
        open_queries = list(range(len(queries)))
        while open_queries and limit:
            only = {} if allowed is None else {"sel": _selector(allowed)}
            parameters = faiss.SearchParametersIVF(nprobe=min(n_probe, self._index.nlist), **only)
            _, rows = _search(self._index, queries[open_queries], limit, parameters)
            for query, its_rows in zip(open_queries, rows, strict=True):
                found[query] = its_rows[its_rows >= 0]
            everywhere = n_probe >= self._index.nlist
            open_queries = [] if everywhere else [query for query in open_queries if len(found[query]) < enough]
            n_probe *= 4
        return found


def build(path: Path, kind: AnnKind, vectors: ShardedVectors) -> tuple[dict[str, int], float]:
    """Write an index of all vectors to `path`. Returns its parameters and its recall of the exact ten."""
    parameters: dict[str, int] = {}
    if kind is AnnKind.FLAT:
        index = faiss.IndexFlatIP(vectors.dim)
    else:
        index, parameters = _trained_ivf(vectors)
    for _, block in vectors.blocks():
        index.add(block)
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise StoreError(f"expected to write {path.parent}, found: {_short(error)}") from error
    return parameters, 1.0 if kind is AnnKind.FLAT else _recall(IvfIndex(index), vectors)


def load(path: Path, kind: AnnKind) -> FlatIndex | IvfIndex:
    """Open what `build` wrote: `flat` is memory-mapped, so that processes share it."""
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if kind is AnnKind.FLAT else 0)
    except RuntimeError as error:
        raise StoreCorrupt(f"expected a FAISS index in {path}, found: {_short(error)}; {REPAIR}") from error
    return FlatIndex(index) if kind is AnnKind.FLAT else IvfIndex(index)


def _trained_ivf(vectors: ShardedVectors) -> tuple[faiss.IndexIVF, dict[str, int]]:
    # Lists near 2 sqrt(n): the work of choosing lists and of reading N_PROBE of them then stay in balance.
    n_lists = max(1, min(2 ** round(np.log2(2 * np.sqrt(vectors.n_rows))), vectors.n_rows // 39 or 1))
    index = faiss.index_factory(vectors.dim, f"IVF{n_lists},RaBitQ", faiss.METRIC_INNER_PRODUCT)
    n_training = min(vectors.n_rows, TRAINING_ROWS_A_LIST * n_lists)
    index.train(vectors.rows(_spread(vectors.n_rows, n_training)))
    return index, {"n_lists": n_lists, "n_probe": N_PROBE, "rescored": RESCORED}


def _recall(index: IvfIndex, vectors: ShardedVectors) -> float:
    """Share of the exact ten nearest papers of each of some papers that the index proposes for re-scoring."""
    queries = vectors.rows(_spread(vectors.n_rows, min(vectors.n_rows, RECALL_QUERIES)))
    truth = ExactScan(vectors).candidates(queries, 10)
    proposed = index.candidates(queries, 10)
    return float(np.mean([np.isin(true, found).mean() for true, found in zip(truth, proposed, strict=True)]))


def _spread(n: int, m: int) -> Rows:
    """m of n rows, chosen at random but always the same."""
    return np.sort(np.random.default_rng(0).choice(n, m, replace=False)).astype(np.int64)


def _search(
    index: faiss.Index, queries: Float32, limit: int, parameters: faiss.SearchParameters | None
) -> tuple[Float32, Rows]:
    """(scores, rows), (q, limit) each."""
    n_threads = faiss.omp_get_max_threads()
    if len(queries) == 1:  # to wake the other threads takes longer than one query: 1.3 ms for 0.4, of 10,000 papers
        faiss.omp_set_num_threads(1)
    try:
        scores, rows = index.search(queries, limit, params=parameters)
    finally:
        faiss.omp_set_num_threads(n_threads)  # the calling thread's; torch's too, where both share one OpenMP
    return scores, rows


def _selector(allowed: Mask) -> faiss.IDSelector:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def _selecting(allowed: Mask | None) -> faiss.SearchParameters | None:
    return None if allowed is None else faiss.SearchParameters(sel=_selector(allowed))


def _short(error: RuntimeError) -> str:
    """FAISS puts function, file and condition before what it has to say."""
    return str(error).strip().rsplit(": ", 1)[-1] or "an error of FAISS"
