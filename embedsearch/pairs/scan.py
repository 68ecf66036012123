"""One pass over all pairs of aligned spaces, in blocks and bounded memory.

Cosines are float32 products, counted in bins whose width is a power of two (`grids.py`): the range need not be known
beforehand, and the result depends on the cosines alone. (A product's last bits depend on where its paper stands in a
block; so in another order of the corpus, pairs within a product's rounding, `scores.product_margin`, of a bin's edge
may be counted on its other side.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedsearch.errors import OptionError
from embedsearch.pairs.engine import Engine, blocks, open_engine, pairs_in, product_error
from embedsearch.pairs.grids import Grid, regrid
from embedsearch.pairs.histograms import Counts, Joint, Marginal
from embedsearch.scores import Float32, Float64

Progress = Callable[[int, int], None]
"""Called with pairs done and pairs in all."""

N_BINS, N_CELLS = 1 << 16, 1 << 10
"""Bins of a marginal, and cells of a joint along each side, over the observed range: at least these, at most twice.
Where all cosines lie within 0.004 of one another, float32 has fewer different numbers than that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairScan:
    """All n (n - 1) / 2 pairs of the papers of one or more aligned spaces, counted.

    `marginals` has one distribution a space; `joints[i]` is that of the first space with space i + 1;
    `same[i]` is the distribution in space i of the pairs of one group alone, None where no groups were given.
    `means`, `sds` of each space and `correlations` (Pearson, of the first space with space i + 1) are of the cosines
    themselves, not of bins, summed in float64. `product_error`, with `fast`: the largest error of a cosine in a sample.
    """

    n_papers: int
    marginals: tuple[Marginal, ...]
    joints: tuple[Joint, ...]
    same: tuple[Marginal, ...] | None
    means: tuple[float, ...] = ()
    sds: tuple[float, ...] = ()
    correlations: tuple[float, ...] = ()
    product_error: float | None = None

    @property
    def n_pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n_papers * (self.n_papers - 1) // 2


def scan_pairs(
    vectors: Sequence[Float32],
    *,
    groups: NDArray[np.int64] | None = None,
    joint: bool = True,
    fast: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> PairScan:
    """Count all pairs of unit rows: `vectors` has an (n, d_s) float32 for each aligned space, n at least 2.

    `groups` (n,) int64: pairs whose groups are equal and not negative are counted apart as well. `fast`: products of
    vectors rounded to bfloat16. `device` is cpu or what `embedsearch.device` knows.

    Raises OptionError for vectors that are not aligned or not of length one.
    """
    n = len(vectors[0]) if len(vectors) else 0
    if groups is not None and np.shape(groups) != (n,):
        raise OptionError(f"expected one group for each of {n} papers, found an array of shape {np.shape(groups)}")
    engine = open_engine(vectors, groups=groups, fast=fast, device=device)
    error = product_error(vectors, engine) if fast else None
    tally = _Tally(engine, len(vectors), joint=joint and len(vectors) > 1)
    n_done, n_pairs = 0, n * (n - 1) // 2
    for place in blocks(n, engine.side):
        if not (in_block := pairs_in(*place)):
            continue
        engine.load(*place)
        tally.add()
        n_done += in_block
        if progress:
            progress(n_done, n_pairs)
    return tally.result(n, with_same=groups is not None, error=error)


class _Tally:
    """Tables that follow the range of the cosines seen so far, and the sums."""

    def __init__(self, engine: Engine, n_spaces: int, *, joint: bool) -> None:
        self._engine, self._joint = engine, joint
        self._ranges = np.tile([np.inf, -np.inf], (n_spaces, 1))
        self._sums = np.zeros((n_spaces, 3))
        self._open_over: Float64 | None = None
        self._windows: list[Grid] = []
        self._cells: list[Grid] = []
        self._bins: list[Grid] = []
        self._marginals: list[Counts] = []
        self._joint_bins: list[Grid] = []
        self._joints: list[Counts] = []

    def add(self) -> None:
        """Count the engine's block."""
        ranges, sums = self._engine.measure()
        self._sums += sums
        self._ranges[:, 0] = np.minimum(self._ranges[:, 0], np.clip(ranges[:, 0], -1, 1))
        self._ranges[:, 1] = np.maximum(self._ranges[:, 1], np.clip(ranges[:, 1], -1, 1))
        over = self._open_over
        if over is None or (self._ranges[:, 0] < over[:, 0]).any() or (self._ranges[:, 1] > over[:, 1]).any():
            self._collect()
            self._open()
        self._engine.count()

    def _open(self) -> None:
        """Begin tables over an eighth more than the range on each side, so that it is not outgrown at every block."""
        margin = (self._ranges[:, 1] - self._ranges[:, 0])[:, None] / 8 * [-1, 1]
        self._open_over = np.clip(self._ranges + margin, -1, 1)
        ranges = list(zip(self._ranges.tolist(), self._open_over.tolist(), strict=True))
        self._windows, self._cells = (
            [Grid.over(low, high, at_least=least, covering=(first, last)) for (low, high), (first, last) in ranges]
            for least in (N_BINS, N_CELLS)
        )
        cells = _plan(self._cells) if self._joint else None
        self._engine.open(*_plan(self._windows), cells)

    def _collect(self) -> None:
        """Take the counts out of the engine, onto the grids of the range as it is now known."""
        if not self._windows:
            return
        marginals, joints = self._engine.close()
        bins, cells = ([Grid.over(*mine, at_least=least) for mine in self._ranges] for least in (N_BINS, N_CELLS))
        new = [regrid(m, a, b, axis=1) for m, a, b in zip(marginals, self._windows, bins, strict=True)]
        if self._marginals:
            old = [regrid(m, a, b, axis=1) for m, a, b in zip(self._marginals, self._bins, bins, strict=True)]
            new = [a + b for a, b in zip(old, new, strict=True)]
        self._marginals, self._bins = new, bins
        for s, table in enumerate(joints, 1):
            moved = regrid(regrid(table, self._cells[0], cells[0]), self._cells[s], cells[s], axis=1)
            if len(self._joints) < s:
                self._joints.append(moved)
            else:
                was = self._joint_bins
                moved += regrid(regrid(self._joints[s - 1], was[0], cells[0]), was[s], cells[s], axis=1)
                self._joints[s - 1] = moved
        self._joint_bins = cells

    def result(self, n: int, *, with_same: bool, error: float | None) -> PairScan:
        """What was counted."""
        self._collect()
        n_pairs = n * (n - 1) // 2
        means = self._sums[:, 0] / n_pairs
        sds = np.sqrt(np.maximum(self._sums[:, 1] / n_pairs - means**2, 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            correlations = (self._sums[:, 2] / n_pairs - means * means[0]) / (sds * sds[0])
        cells = self._joint_bins
        joints = [
            Joint(
                first_start=cells[0].start,
                first_width=cells[0].width,
                second_start=grid.start,
                second_width=grid.width,
                counts=counts,
            )
            for grid, counts in zip(cells[1:], self._joints, strict=False)  # there are none without `joint`
        ]
        return PairScan(
            n_papers=n,
            marginals=tuple(self._marginal(s, self._marginals[s].sum(axis=0)) for s in range(len(self._bins))),
            joints=tuple(joints),
            same=tuple(self._marginal(s, self._marginals[s][1]) for s in range(len(self._bins))) if with_same else None,
            means=tuple(means.tolist()),
            sds=tuple(sds.tolist()),
            correlations=tuple(correlations[1:].tolist()),
            product_error=error,
        )

    def _marginal(self, s: int, counts: Counts) -> Marginal:
        low, high = (float(end) for end in self._ranges[s])
        grid = self._bins[s]
        return Marginal(start=grid.start, width=grid.width, counts=counts, minimum=low, maximum=high)


def _plan(grids: list[Grid]) -> tuple[Float64, NDArray[np.int64], NDArray[np.int64]]:
    """Bins to a cosine, first bin and number of bins of each."""
    scales = np.array([2.0**grid.log2 for grid in grids])
    return scales, np.array([grid.first for grid in grids]), np.array([grid.n_bins for grid in grids])
