"""The second pass: what each space makes of the pairs in each bin of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsearch.errors import OptionError
from embedsearch.pairs.engine import Engine, blocks, open_engine, pairs_in
from embedsearch.pairs.histograms import Counts
from embedsearch.pairs.jackknife import mean_and_sd, standard_error, without_each
from embedsearch.pairs.scan import Progress
from embedsearch.scores import Float32, Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinnedSpace:
    """One space's cosines in each of b bins: all (b,) float64 but `counts`, NaN where a bin is empty.

    `counts` is (b, m) int64 over the m bins of equal width of `edges` (m + 1,), its own observed range. `mean` and `sd`
    are of the cosines themselves. The errors are standard errors by the delete-one-paper jackknife at fixed edges,
    NaN where a bin has pairs of one paper alone.
    """

    edges: Float64
    counts: Counts
    mean: Float64
    sd: Float64
    mean_error: Float64
    sd_error: Float64

    @property
    def density(self) -> Float64:
        """Share of a bin's pairs per unit of cosine: (b, m) float64."""
        n_pairs = np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        density: Float64 = self.counts / (n_pairs * np.diff(self.edges))
        return density


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BinnedPairs:
    """All pairs in bins of the cosine of one space, `spaces[by]`.

    `edges` (b + 1,) float64: a bin holds its lower edge, the last its upper one too. `n_pairs` (b,) int64;
    `share_error` (b,) float64 is the jackknife's error of the share of the pairs in each bin.
    """

    by: int
    edges: Float64
    n_pairs: Counts
    share_error: Float64
    spaces: tuple[BinnedSpace, ...]

    @property
    def share(self) -> Float64:
        """(b,) float64, adds up to 1."""
        share: Float64 = self.n_pairs / self.n_pairs.sum()
        return share


def bin_pairs(
    vectors: Sequence[Float32],
    edges: Float64,
    *,
    by: int = 0,
    n_density: int = 256,
    ranges: Sequence[tuple[float, float]] | None = None,
    fast: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> BinnedPairs:
    """Count the pairs of aligned unit rows again, in the bins of `edges` of the cosine of `vectors[by]`.

    `vectors` has an (n, d_s) float32 a space, n at least 2; `edges` (b + 1,) float64 do not fall; the outer bins also
    take what lies beyond the outer edges. `ranges` has the observed (minimum, maximum) of each space, as the scan's
    marginals know them; without, a pass over the pairs finds them. Memory: (n, b, 1 + 2 s) float64, each paper's sums.

    Raises OptionError for edges that fall, fewer than two, or vectors that do not fit.
    """
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) >= 0).all():
        raise OptionError(f"expected at least two edges in rising order, found {edges}")
    engine = open_engine(vectors, fast=fast, device=device)
    n, n_bins, n_spaces = len(vectors[0]), len(edges) - 1, len(vectors)
    fine = _fine_bins(ranges if ranges is not None else _find_ranges(engine, n), n_density)
    counts = np.zeros((n_spaces, n_bins, n_density), np.int64)
    sums = np.zeros((n, n_bins, 1 + 2 * n_spaces))
    n_done, n_pairs = 0, n * (n - 1) // 2
    for place in blocks(n, engine.side):
        if not (in_block := pairs_in(*place)):
            continue
        engine.load(*place)
        engine.bin(by, _round_up(edges), fine, counts, sums)
        n_done += in_block
        if progress:
            progress(n_done, n_pairs)
    return _binned(by, edges, fine, counts, sums)


def _find_ranges(engine: Engine, n: int) -> list[tuple[float, float]]:
    found = []
    for place in blocks(n, engine.side):
        if pairs_in(*place):
            engine.load(*place)
            found.append(engine.measure()[0])
    every = np.stack(found)
    return list(zip(every[:, :, 0].min(axis=0).tolist(), every[:, :, 1].max(axis=0).tolist(), strict=True))


def _fine_bins(ranges: Sequence[tuple[float, float]], n_density: int) -> Float64:
    """Start, bins to a cosine, and the middle of each range: sums are taken from there, so that squares cancel less."""
    rows = []
    for low, high in ranges:
        # Where all pairs are equally alike, any width will do.
        start, end = (low, high) if high > low else (low - 0.5, low + 0.5)
        rows.append((start, n_density / (end - start), (start + end) / 2))
    return np.array(rows)


def _round_up(edges: Float64) -> Float32:
    """The least float32 that is no less: a float32 reaches an edge where it reaches this."""
    narrow = edges.astype(np.float32)
    return np.where(narrow < edges, np.nextafter(narrow, np.float32(np.inf)), narrow).astype(np.float32)


def _binned(by: int, edges: Float64, fine: Float64, counts: Counts, sums: Float64) -> BinnedPairs:
    whole = sums.sum(axis=0) / 2  # each pair is in the sums of two papers
    left = without_each(whole, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_error = standard_error(left[:, :, 0] / left[:, :, 0].sum(axis=1, keepdims=True))
    spaces = []
    for s, (start, scale, shift) in enumerate(fine):
        mean, sd = mean_and_sd(whole[:, 0], whole[:, 1 + 2 * s], whole[:, 2 + 2 * s])
        means, sds = mean_and_sd(left[:, :, 0], left[:, :, 1 + 2 * s], left[:, :, 2 + 2 * s])
        spaces.append(
            BinnedSpace(
                edges=start + np.arange(counts.shape[2] + 1) / scale,
                counts=counts[s],
                mean=mean + shift,
                sd=sd,
                mean_error=standard_error(means),
                sd_error=standard_error(sds),
            )
        )
    n_pairs = np.rint(whole[:, 0]).astype(np.int64)
    return BinnedPairs(by=by, edges=edges, n_pairs=n_pairs, share_error=share_error, spaces=tuple(spaces))
