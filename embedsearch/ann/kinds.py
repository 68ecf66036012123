"""The kinds of index that FAISS offers, searched. Imported only where one is built or searched."""

from __future__ import annotations

import math
import sys

import faiss
import numpy as np

from embedsearch.scores import Float32, Mask, Rows, product_margin

MEASURED_HITS = 10
"""Hits that `rescored` rows are for: more hits, and as many times more rows."""

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
    """Inverted lists of codes. `n_probe` lists are read for a query, `rescored` rows proposed for ten hits."""

    exact = False

    def __init__(self, index: faiss.IndexIVF, *, n_probe: int, rescored: int) -> None:
        self._index = index
        self._has_graph = isinstance(faiss.downcast_index(index.quantizer), faiss.IndexHNSW)
        self.n_lists = int(index.nlist)
        self.set(n_probe=n_probe, rescored=rescored)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def set(self, *, n_probe: int, rescored: int) -> None:
        """Search otherwise from now on."""
        self.n_probe, self.rescored = min(n_probe, self.n_lists), rescored
        self._usual = self._parameters(self.n_probe)  # to make these takes as long as to read a short list

    def candidates(self, queries: Float32, k: int, *, allowed: Mask | None = None) -> list[Rows]:
        """See AnnIndex. Looks into more lists for the queries that found too few."""
        n_allowed = len(self) if allowed is None else int(allowed.sum())
        limit = min(max(k, self.rescored, -(-self.rescored * k // MEASURED_HITS)), n_allowed)
        enough, n_probe = min(k, n_allowed), self._probed(n_allowed)
        found: list[Rows] = [np.empty(0, np.int64) for _ in queries]
        open_queries = list(range(len(queries)))
        while open_queries and limit:
            for query, rows in zip(
                open_queries, self.ranked(queries[open_queries], limit, n_probe, allowed), strict=True
            ):
                found[query] = rows[rows >= 0]
            open_queries = [query for query in open_queries if len(found[query]) < enough]
            if n_probe == self.n_lists:
                break
            n_probe = min(n_probe * 4, self.n_lists)
        for query in open_queries if limit else ():  # the rest is in lists that the graph does not lead to
            usable = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
            found[query] = np.union1d(found[query], usable)
        return found

    def centres(self) -> Float32:
        """Of the lists: (n_lists, d)."""
        centres: Float32 = self._index.quantizer.reconstruct_n(0, self.n_lists)
        return centres

    def ranked(self, queries: Float32, limit: int, n_probe: int, allowed: Mask | None = None) -> Rows:
        """(q, limit) rows as their codes rank them, best first, -1 where no more are found in `n_probe` lists."""
        usual = n_probe == self.n_probe and allowed is None
        return _search(self._index, queries, limit, self._usual if usual else self._parameters(n_probe, allowed))[1]

    def _probed(self, n_allowed: int) -> int:
        """Lists to read where so many rows are allowed: the best of a few lie farther away than the best of all.

        Of 3,000,000 rows 16 lists have 0.99, 0.987 and 0.945 of the exact ten of a tenth, a thirtieth and a hundredth
        of them, drawn at random; so many have 0.995 or more.
        """
        return min(self.n_lists, math.ceil(self.n_probe * math.sqrt(len(self) / max(1, n_allowed))))

    def _parameters(self, n_probe: int, allowed: Mask | None = None) -> faiss.SearchParametersIVF:
        more = {} if allowed is None else {"sel": _selector(allowed)}
        if self._has_graph:
            more["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=max(16, 2 * n_probe))
        return faiss.SearchParametersIVF(nprobe=n_probe, **more)


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
