"""The papers of a store that are nearly the same: pairs, closest first, and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from embedsearch.ann import AnnKind
from embedsearch.duplicates.describing import described, members_of, named_groups
from embedsearch.duplicates.groups import CROWDED, centred, check_cosine, leaves_something, mean_cosine
from embedsearch.duplicates.proposing import TooMany, proposed
from embedsearch.duplicates.results import Duplicates
from embedsearch.duplicates.scan import Read, scan, threshold
from embedsearch.duplicates.tally import Tally
from embedsearch.duplicates.titles import of_one_title
from embedsearch.errors import OptionError, StoreError
from embedsearch.scores import Float32, Mask, Rows
from embedsearch.search.view import StoreView
from embedsearch.store.filters import Filters
from embedsearch.store.manifest import build_command

MIN_COSINE = 0.95
SCANNED_PAPERS = 100_000
"""Up to so many all pairs are looked at whatever the index: 100,000 of 384 dimensions took 49 s on one busy core, and
58 s by way of an ivf."""
MOST_PAIRS = 100_000
"""Pairs that are described at most: the closest."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


def find_duplicates(
    index: str | Path | StoreView,
    *,
    min_cosine: float = MIN_COSINE,
    n: int | None = None,
    filters: Filters | None = None,
    exact: bool = False,
    center: bool | None = None,
    same_title: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Duplicates:
    """The pairs of papers of a store whose cosine is at least `min_cosine`, the n closest described (None: all, up to
    MOST_PAIRS), and the groups that all of them make.

    Every cosine is of the stored vectors, by `scores.cosines`; 1 asks for equal ones, but for rounding. Of equal
    cosines the pair of smaller ids comes first. All pairs are looked at, so that none is missed, and the time grows
    with the square of the papers. But where there are more than SCANNED_PAPERS and the store's index is approximate,
    that is asked for each paper's neighbours, unless `exact`: what it proposes for neither of two papers is missed.

    `center`: cosines about the mean of these papers, of all pairs; None: where the mean cosine of all pairs is above
    CROWDED, since all papers are alike there. `same_title`: also pairs of the same whole title, whatever their cosine.
    `filters` say which papers are looked at. Papers without a vector are not.

    Raises what opening a store raises; StoreError where no paper has a vector; OptionError for a cosine that is not
    above 0 and at most 1, and for n below 1.
    """
    check_cosine(min_cosine)
    if n is not None and n < 1:
        raise OptionError(f"expected at least 1 pair, found {n}")
    view = index if isinstance(index, StoreView) else StoreView.open(Path(index))
    search = _Search.of(view, filters, center)
    ids = view.catalogue.ids(search.rows)
    keep = MOST_PAIRS if n is None else min(n, MOST_PAIRS)
    tally = Tally(_ranks(ids), min_cosine=min_cosine, keep=keep)
    is_exact, known = search.run(tally, min_cosine, exact, progress)
    n_by_title = search.add_titles(tally, min_cosine, is_exact, known, progress) if same_title else 0
    members = members_of(tally.groups(), ids)
    number_of = {i: number for number, group in enumerate(members, 1) for i in group}
    first, second, scores = tally.closest()
    numbers = [number_of[i] for i in first.tolist()]
    pairs = list(zip(search.rows[first].tolist(), search.rows[second].tolist(), numbers, scores.tolist(), strict=True))
    return Duplicates(
        index=view.folder.name,
        model=str(view.generation.model["name"]),
        n_papers=len(ids),
        min_cosine=min_cosine,
        n_pairs=tally.n_pairs,
        n_by_title=n_by_title,
        pairs=tuple(described(view, pairs, partial(progress, "words of pairs"))),
        groups=named_groups(view, members, search.rows, ids),
        is_exact=is_exact,
        is_centered=search.is_centered,
        mean_cosine=search.mean_cosine,
        notes=tuple(_notes(view, search, tally, len(pairs), n, is_exact)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Search:
    """The papers that are looked at, and how their vectors are read."""

    view: StoreView
    rows: Rows
    allowed: Mask | None
    read: Read
    prepared: Callable[[Float32], Float32]
    """What is done to vectors as they are stored."""
    is_centered: bool
    mean_cosine: float | None

    @classmethod
    def of(cls, view: StoreView, filters: Filters | None, center: bool | None) -> _Search:
        rows = _usable(view, filters)
        read = partial(_read, view, rows)
        mean, mean_vector = mean_cosine(read, len(rows)) if len(rows) > 1 else (None, np.zeros(0))
        wanted = len(rows) > 2 and mean is not None and (mean > CROWDED if center is None else center)
        # Vectors that are all the same leave nothing: they stay what they are, which is duplicates.
        is_centered = wanted and leaves_something(read, len(rows), mean_vector)
        allowed = None
        if len(rows) < view.n_rows:
            allowed = np.zeros(view.n_rows, bool)
            allowed[rows] = True
        prepared = partial(centred, mean=mean_vector) if is_centered else _as_it_is
        return cls(
            view=view,
            rows=rows,
            allowed=allowed,
            read=lambda first, end: prepared(read(first, end)),
            prepared=prepared,
            is_centered=is_centered,
            mean_cosine=mean,
        )

    def run(self, tally: Tally, min_cosine: float, exact: bool, progress: Progress) -> tuple[bool, Rows]:
        """Find all pairs that are near: (whether all pairs were looked at; else the keys of those that were found)."""
        if not exact and not self.is_centered and self._is_approximate():
            ticks = partial(progress, "neighbours of papers")
            try:
                first, second, scores = proposed(self.view, self.rows, min_cosine, allowed=self.allowed, progress=ticks)
                tally.add(first, second, scores)
                return False, self._keys(first, second)
            except TooMany:
                pass  # a scan needs no more memory for more pairs
        for near in scan(self.read, len(self.rows), min_cosine, progress=partial(progress, "pairs of papers")):
            tally.add_near(near)
        return True, np.empty(0, np.int64)

    def add_titles(self, tally: Tally, min_cosine: float, is_exact: bool, found: Rows, progress: Progress) -> int:
        """Add the pairs of the same title that were not found yet; how many of them are not near."""
        titles = partial(progress, "titles of papers")
        first, second, scores = of_one_title(self.view, self.rows, self.prepared, titles)
        is_far = scores < threshold(min_cosine)
        is_new = is_far if is_exact else ~np.isin(self._keys(first, second), found)
        tally.add(first[is_new], second[is_new], scores[is_new])
        return int(is_far.sum())

    def _keys(self, first: Rows, second: Rows) -> Rows:
        """One number for each pair."""
        return first * len(self.rows) + second

    def _is_approximate(self) -> bool:
        """Whether the index is of a kind that is quicker than a scan, and may miss something. An exact one is not even
        opened: it looks at all pairs twice."""
        note = self.view.generation.ann
        is_quicker = note is not None and note.kind == AnnKind.IVF.value and len(self.rows) > SCANNED_PAPERS
        return is_quicker and not self.view.ann.exact


def _usable(view: StoreView, filters: Filters | None) -> Rows:
    """The rows that are looked at, ascending: those of papers that pass and have a vector."""
    if not view.vectors.n_rows:
        raise StoreError(
            f"expected vectors in {view.folder}, found none yet; finish it with: {build_command(view.folder)}"
        )
    mask = view.mask(filters)
    rows = view.catalogue.rows() if mask is None else np.flatnonzero(mask)
    return rows[view.vectors.has(rows)]


def _read(view: StoreView, rows: Rows, first: int, end: int) -> Float32:
    return view.read(rows[first:end])


def _as_it_is(vectors: Float32) -> Float32:
    return vectors


def _ranks(ids: list[str]) -> Rows:
    """The place of each id among all in their order: (n,)."""
    ranks = np.empty(len(ids), np.int64)
    ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return ranks


def _notes(
    view: StoreView, search: _Search, tally: Tally, n_shown: int, n: int | None, is_exact: bool
) -> Iterator[str]:
    """What a reader of the result must know."""
    if search.is_centered and search.mean_cosine is not None and search.mean_cosine > CROWDED:
        yield (
            f"any two papers have a cosine of {search.mean_cosine:.2f} in the mean: cosines are about the mean of all"
            " papers"
        )
    elif search.mean_cosine is not None and search.mean_cosine > CROWDED:
        yield f"any two papers have a cosine of {search.mean_cosine:.2f} in the mean: a high --min-cosine tells little"
    if not is_exact:
        yield "found by way of the index, which may miss a few; --exact looks at all pairs"
    if n is None and n_shown < tally.n_pairs:
        yield f"the {n_shown:,} closest pairs of {tally.n_pairs:,}; a higher --min-cosine leaves fewer"
    if not view.generation.complete:
        n = view.generation.n_embedded
        yield f"{n:,} of {view.n_papers:,} papers have a vector so far; the others were not looked at"
