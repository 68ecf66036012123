"""Pairs of papers of the same title, however far apart their vectors are: an abstract that was written anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from embedsearch.duplicates.scan import Progress, cosines_of_pairs
from embedsearch.scores import Float32, Rows
from embedsearch.search.view import StoreView
from embedsearch.store.filters import fold_name

FEWEST_WORDS = 3
"""Of a title that means one work: "Erratum" and "Dark matter" do not."""
MOST_PAPERS = 20
"""A title that more papers have is that of a column, or of nothing."""
READ_AT_ONCE = 500


def of_one_title(
    view: StoreView, rows: Rows, prepared: Callable[[Float32], Float32], progress: Progress
) -> tuple[Rows, Rows, Float32]:
    """(first, second, cosines), (m,) each, of the pairs of the same whole title among `rows` (n,): positions in them,
    first < second. Titles are compared without case, accents, LaTeX and punctuation. `prepared` is done to vectors
    before they are compared."""
    papers_of: dict[str, list[int]] = {}
    for start in range(0, len(rows), READ_AT_ONCE):
        for i, stored in enumerate(view.catalogue.papers(rows[start : start + READ_AT_ONCE]), start):
            words = fold_name(stored.title)
            if len(words) >= FEWEST_WORDS:
                papers_of.setdefault(" ".join(words), []).append(i)
        progress(min(start + READ_AT_ONCE, len(rows)), len(rows))
    alike = [papers for papers in papers_of.values() if 1 < len(papers) <= MOST_PAPERS]
    pairs = [pair for papers in alike for pair in combinations(papers, 2)]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    needed = np.unique(np.concatenate([first, second]))
    vectors = prepared(view.read(rows[needed]))
    at, other = np.searchsorted(needed, first), np.searchsorted(needed, second)
    return first, second, cosines_of_pairs(vectors, vectors, at, other)
