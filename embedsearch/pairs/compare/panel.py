"""What needs all pairs and all neighbours of aligned spaces: one scan, one search, and the halves of the papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedsearch.pairs.compare.discrimination import auc
from embedsearch.pairs.compare.measured import UNKNOWN, Measured, from_halves, half_samples
from embedsearch.pairs.compare.neighbours import Neighbours, category_hits, hubness, nearest, overlap, within
from embedsearch.pairs.scan import PairScan, scan_pairs
from embedsearch.scores import Float32, Mask

CATEGORY_K = 10
"""Neighbours that vote, and whose occurrences are counted."""

Groups = NDArray[np.int64]
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How spaces are compared."""

    overlaps: tuple[int, ...] = (10, 100)
    """Numbers of neighbours whose overlap is measured."""
    leading: tuple[int, ...] = (1, 5)
    """Numbers of leading directions without which CKA is measured too."""
    n_halves: int = 50
    """Random halves of the papers for the errors: 50 tell an error to 10 %."""
    seed: int = 0
    """Of the halves."""
    fast: bool = False
    """Products of the scan in bfloat16."""
    device: str = "cpu"
    """Where the scan is made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelResult:
    """By space, and `overlap` by k for each space after the first, with the first."""

    scan: PairScan
    auc: tuple[Measured, ...]
    accuracy: tuple[Measured, ...]
    hubness: tuple[Measured, ...]
    overlap: Mapping[int, tuple[Measured, ...]]


def work_of_panel(n: int, n_spaces: int, with_groups: bool, options: Options) -> int:
    """What `measure_panel` will call its `advance` with, in all: cosines, and entries of lists as so many."""
    return n_spaces * (n * n + (n * n if with_groups else 0) + n * n + options.n_halves * _work_of_half(n, options))


def _work_of_half(n: int, options: Options) -> int:
    return n * _n_listed(n, options)


def _n_listed(n: int, options: Options) -> int:
    """Neighbours of each paper that are kept, so that a half of them is enough, nearly always."""
    return min(n - 1, 3 * max(CATEGORY_K, *options.overlaps))


def measure_panel(vectors: Sequence[Float32], groups: Groups | None, options: Options, advance: Advance) -> PanelResult:
    """Of unit rows (n, d_s) for each space, by id; `groups` (n,) with -1 where it is not known."""
    n = len(vectors[0])
    before = [0]

    def scanned(done: int, total: int) -> None:
        share = len(vectors) * n * n * done // max(total, 1)
        advance(share - before[0])
        before[0] = share

    whole = groups is not None and bool((groups >= 0).all())
    scan = scan_pairs(
        vectors, groups=groups if whole else None, fast=options.fast, device=options.device, progress=scanned
    )
    found = [nearest(rows, _n_listed(n, options), progress=advance) for rows in vectors]
    halves = _Statistics(vectors, found, groups, options)
    everything = halves.of(np.ones(n, bool))
    of_halves = []
    for half in half_samples(n, n_halves=options.n_halves, seed=options.seed):
        of_halves.append(halves.of(half))
        advance(len(vectors) * _work_of_half(n, options))
    measured = [
        from_halves(value, [row[i] for row in of_halves], n=n, n_half=n // 2) if np.isfinite(value) else UNKNOWN
        for i, value in enumerate(everything)
    ]
    n_spaces = len(vectors)
    after = [tuple(measured[i : i + n_spaces - 1]) for i in range(2 * n_spaces, len(measured), n_spaces - 1 or 1)]
    return PanelResult(
        scan=scan,
        auc=_aucs(vectors, groups, scan, options, advance),
        accuracy=tuple(measured[:n_spaces]),
        hubness=tuple(measured[n_spaces : 2 * n_spaces]),
        overlap=dict(zip(options.overlaps, after or [()] * len(options.overlaps), strict=True)),
    )


def _aucs(
    vectors: Sequence[Float32], groups: Groups | None, scan: PairScan, options: Options, advance: Advance
) -> tuple[Measured, ...]:
    """Of the papers whose group is known; where that is not all of them, they have a scan of their own."""
    if groups is None:
        return (UNKNOWN,) * len(vectors)
    known = groups >= 0
    if known.sum() < 3:
        return (UNKNOWN,) * len(vectors)
    if not known.all():
        vectors, groups = [rows[known] for rows in vectors], groups[known]
        scan = scan_pairs(vectors, groups=groups, joint=False, fast=options.fast, device=options.device)
    assert scan.same is not None
    # A pass goes over the upper triangle in whole blocks: about half of all cosines
    return tuple(
        auc(every, same, rows, groups, progress=lambda n: advance(2 * n))
        for every, same, rows in zip(scan.marginals, scan.same, vectors, strict=True)
    )


class _Statistics:
    """What the neighbours among any part of the papers say: of the whole, and again of each half."""

    def __init__(
        self, vectors: Sequence[Float32], found: Sequence[Neighbours], groups: Groups | None, options: Options
    ) -> None:
        self._vectors = vectors
        self._found = found
        self._groups = groups
        self._options = options

    def of(self, part: Mask) -> list[float]:
        """Accuracy of each space, hubness of each, then by k the overlap of each after the first with the first."""
        near = self._within(part, CATEGORY_K)
        members = np.flatnonzero(part)
        values = self._accuracy(part, near)
        values += [hubness(lists, members) if lists else np.nan for lists in near]
        for k in self._options.overlaps if len(self._vectors) > 1 else ():
            lists = near if k == CATEGORY_K else self._within(part, k)
            first, *others = lists
            values += [float(overlap(first, other).mean()) if first and other else np.nan for other in others]
        return values

    def _accuracy(self, part: Mask, near: Sequence[Neighbours | None]) -> list[float]:
        groups = self._groups
        if groups is None:
            return [np.nan] * len(near)
        known = part & (groups >= 0)
        if (known != part).any():
            near = self._within(known, CATEGORY_K)
        own = groups[known]
        return [float(category_hits(lists, own, groups).mean()) if lists else np.nan for lists in near]

    def _within(self, part: Mask, k: int) -> list[Neighbours | None]:
        """None where there are not k others."""
        if part.sum() <= k:
            return [None] * len(self._vectors)
        if part.all():
            return [found.first(k) for found in self._found]
        return [within(found, part, k, vectors=rows) for found, rows in zip(self._found, self._vectors, strict=True)]
