"""Counting what the similarity figure shows: one pass over all pairs, and one more for each binning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embedsearch.errors import OptionError
from embedsearch.pairs.binned import BinnedPairs, BinnedSpace, bin_pairs
from embedsearch.pairs.curves import MOST_CELLS, clipped_curve, coarser, curve, marginal_curve, n_cells
from embedsearch.pairs.figure import RAW, BinnedView, JointView, Panel, Ridges, SimilarityFigure, SpaceView
from embedsearch.pairs.histograms import Joint
from embedsearch.pairs.moments import moments
from embedsearch.pairs.scan import PairScan, Progress, scan_pairs
from embedsearch.scores import Float32
from embedsearch.store.space import Space

BINNINGS = ("quantile", "width")
FINER = 4
"""The space that is binned by has so many times finer steps: each of its curves covers one bin only."""

Passes = Callable[[str], Progress]
"""Called with the name of a pass over all pairs; gives the callback for it."""


def similarity_figure(
    spaces: Sequence[Space],
    *,
    panels: Sequence[str] = (RAW,),
    n_bins: int = 10,
    binning: str = "quantile",
    by: Sequence[int] = (0,),
    fast: bool = False,
    device: str = "cpu",
    passes: Passes | None = None,
) -> SimilarityFigure:
    """Count all pairs of aligned `spaces`, the reference first, once and once more for each of `by`.

    `panels` are transforms (`raw` for none), fitted on these papers; `by` the positions of the spaces that pairs are
    binned by, () for no bins. Raises OptionError for an unknown binning, transform or position, for fewer than 3 papers
    and for fewer than 1 bin.
    """
    if binning not in BINNINGS:
        raise OptionError(f"expected a binning of {' or '.join(BINNINGS)}, found {binning!r}")
    if not spaces or len({len(space) for space in spaces}) > 1 or len(spaces[0]) < 3:
        counts = ", ".join(f"{len(space):,}" for space in spaces) or "no space"
        raise OptionError(f"expected spaces with the same papers, at least 3, found {counts}")
    if any(not 0 <= position < len(spaces) for position in by):
        raise OptionError(f"expected to bin by one of {len(spaces)} spaces, found {list(by)}")
    counting = _Counting(n_bins=n_bins, binning=binning, by=tuple(by), fast=fast, device=device, passes=passes)
    labels = distinct_labels(spaces)
    # All before the first is counted: a transform that cannot be fitted says so at once
    moved = [spaces if kind == RAW else [space.transformed(kind) for space in spaces] for kind in panels]
    made = tuple(counting.panel(each, labels, kind) for each, kind in zip(moved, panels, strict=True))
    return SimilarityFigure(n_papers=len(spaces[0]), binning=binning, panels=made, fast=fast)


class Named(Protocol):
    """What a legend names."""

    @property
    def label(self) -> str:
        """Its model and transform."""

    @property
    def name(self) -> str:
        """Its folder or file."""


def distinct_labels(spaces: Sequence[Named]) -> list[str]:
    """A label for each space; where two would be the same, the store's name tells them apart, else a number."""
    labels = [space.label for space in spaces]
    labels = [
        f"{label} [{space.name}]" if labels.count(label) > 1 else label
        for label, space in zip(labels, spaces, strict=True)
    ]
    return [
        f"{label} ({labels[:i].count(label) + 1})" if labels.count(label) > 1 else label
        for i, label in enumerate(labels)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counting:
    """How pairs are counted; the same for all panels."""

    n_bins: int
    binning: str
    by: tuple[int, ...]
    fast: bool
    device: str
    passes: Passes | None

    def panel(self, spaces: Sequence[Space], labels: Sequence[str], transform: str) -> Panel:
        """Of spaces that were transformed already."""
        vectors = [space.vectors for space in spaces]
        scan = scan_pairs(
            vectors, joint=len(vectors) > 1, fast=self.fast, device=self.device, progress=self._pass("counting pairs")
        )
        views = tuple(
            _space_view(space, label, rows, scan, i)
            for i, (space, label, rows) in enumerate(zip(spaces, labels, vectors, strict=True))
        )
        ridges = tuple(self._ridges(vectors, scan, views, by) for by in self.by)
        joints = tuple(_joint_view(joint, scan, i + 1) for i, joint in enumerate(scan.joints))
        return Panel(transform=transform, spaces=views, ridges=ridges, joints=joints, product_error=scan.product_error)

    def _ridges(self, vectors: Sequence[Float32], scan: PairScan, views: Sequence[SpaceView], by: int) -> Ridges:
        cells = n_cells(scan.n_pairs / max(self.n_bins, 1))
        binned = bin_pairs(
            vectors,
            scan.marginals[by].bin_edges(self.n_bins, binning=self.binning),
            by=by,
            n_density=cells * FINER,
            ranges=[(marginal.minimum, marginal.maximum) for marginal in scan.marginals],
            fast=self.fast,
            device=self.device,
            progress=self._pass("counting pairs in bins"),
        )
        seen = (
            _binned_view(binned, space, view, i)
            for i, (space, view) in enumerate(zip(binned.spaces, views, strict=True))
        )
        return Ridges(
            by=by,
            edges=binned.edges,
            n_pairs=binned.n_pairs,
            share=binned.share,
            share_error=binned.share_error,
            spaces=tuple(seen),
        )

    def _pass(self, name: str) -> Progress | None:
        return self.passes(name) if self.passes else None


def _space_view(space: Space, label: str, rows: Float32, scan: PairScan, position: int) -> SpaceView:
    marginal, of_all = scan.marginals[position], moments(rows, centred=space.is_centred)
    spearman = scan.joints[position - 1].spearman() if position else (None, None)
    return SpaceView(
        label=label,
        name=space.name,
        dim=space.dim,
        recipe=dict(space.recipe),
        mean=of_all.mean,
        sd=of_all.sd,
        minimum=marginal.minimum,
        maximum=marginal.maximum,
        curve=marginal_curve(marginal),
        spearman=spearman[0],
        spearman_resolution=spearman[1],
    )


def _binned_view(binned: BinnedPairs, space: BinnedSpace, view: SpaceView, position: int) -> BinnedView:
    if position == binned.by:
        curves = tuple(
            clipped_curve(space.edges, space.counts[b], binned.edges[b], binned.edges[b + 1])
            for b in range(len(binned.n_pairs))
        )
    else:
        edges = space.edges[::FINER]
        curves = tuple(curve(edges, counts) for counts in coarser(space.counts, FINER))
    scale = view.sd.value if view.sd.value > 0 else math.nan
    filled = binned.n_pairs > 0
    within = float((binned.share[filled] * space.sd[filled] ** 2).sum())
    return BinnedView(
        curves=curves,
        mean=space.mean,
        mean_error=space.mean_error,
        sd=space.sd,
        sd_error=space.sd_error,
        ratio=space.sd / scale,
        pooled_ratio=math.sqrt(within) / scale,
    )


def _joint_view(joint: Joint, scan: PairScan, other: int) -> JointView:
    """The joint distribution in squares that its pairs can fill."""
    wanted = min(MOST_CELLS, max(16, math.ceil(math.sqrt(scan.n_pairs / 100))))
    by_first, by_second = (math.ceil(side / wanted) for side in joint.counts.shape)
    counts = coarser(coarser(joint.counts, by_second).T, by_first).T
    return JointView(
        other=other,
        first_edges=joint.first_start + joint.first_width * by_first * np.arange(counts.shape[0] + 1),
        second_edges=joint.second_start + joint.second_width * by_second * np.arange(counts.shape[1] + 1),
        counts=counts,
    )
