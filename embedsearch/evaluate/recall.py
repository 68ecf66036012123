"""How much of the exact answer a store's own index finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.ann import ExactScan
from embedsearch.encoders import Role
from embedsearch.evaluate.entries import Entry
from embedsearch.keywords import clean
from embedsearch.measures import Interval, mean_interval
from embedsearch.scores import cosines, exact_top_k

HITS = 10
MOST_QUERIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnRecall:
    """The share of the exact ten hits by meaning that search finds by way of the index, over the first queries."""

    entry: str
    kind: str
    queries: str
    n_queries: int
    recall: Interval


def ann_recall(entry: Entry, name: str, queries: Sequence[str]) -> AnnRecall | None:
    """Of the first `queries`, the set of which is called `name`; None where every search is exact."""
    view = entry.view
    if not entry.is_dense or view.generation.ann is None or isinstance(view.ann, ExactScan):
        return None
    texts = [clean(text) for text in queries[:MOST_QUERIES]]
    vectors = entry.embed(texts, Role.QUERY)
    shares = np.empty(len(texts))
    for i, (_, exact) in enumerate(exact_top_k(vectors, view.vectors.blocks(), HITS)):
        exact = np.sort(exact)[::-1][:HITS]
        proposed = view.ann.candidates(vectors[i : i + 1], HITS)[0]
        found = np.sort(cosines(vectors[i], view.read(proposed)))[::-1][:HITS]
        shares[i] = (found >= exact[-1]).sum() / len(exact)
    kind = view.generation.ann.kind
    return AnnRecall(entry=entry.name, kind=kind, queries=name, n_queries=len(texts), recall=mean_interval(shares))
