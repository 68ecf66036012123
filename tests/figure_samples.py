"""Similarity figures of normal distributions, made without any pairs: the same numbers on every machine."""

from __future__ import annotations

import math

import numpy as np

from embedsearch.pairs.curves import Curve
from embedsearch.pairs.figure import BinnedView, JointView, Panel, Ridges, SimilarityFigure, SpaceView
from embedsearch.pairs.moments import Estimate

MEANS, SDS = (0.4, 0.9, 0.0, 0.2, 0.6, 0.5, 0.1), (0.14, 0.03, 0.1, 0.2, 0.1, 0.05, 0.15)
LONG = "sentence-transformers/all-MiniLM-L6-v2-finetuned-on-$astro-ph$"
N_PAPERS = 10_000


def normal(mean: float, sd: float, *, low: float | None = None, high: float | None = None, n: int = 100) -> Curve:
    """A normal density in n steps, perhaps cut to a bin and brought to area one again."""
    low = mean - 4 * sd if low is None else low
    high = mean + 4 * sd if high is None else high
    edges = np.linspace(low, high, n + 1)
    area = np.diff([math.erf((edge - mean) / sd / math.sqrt(2)) for edge in edges])
    return Curve(edges=edges, density=area / area.sum() / np.diff(edges))


def space(i: int, label: str) -> SpaceView:
    """The i-th space over all pairs."""
    mean, sd = MEANS[i], SDS[i]
    return SpaceView(
        label=label, name=f"store{i}", dim=8, recipe={"pooling": "mean"}, mean=Estimate(mean, 0.0123 * sd),
        sd=Estimate(sd, 0.0045 * sd), minimum=mean - 4 * sd, maximum=mean + 4 * sd, curve=normal(mean, sd),
        spearman=None if i == 0 else 0.4321, spearman_resolution=None if i == 0 else 0.001,
    )  # fmt: skip


def ridges(n_spaces: int, n_bins: int, by: int) -> Ridges:
    """Bins of equal width from -3 to 3 sd of space `by`; the others drift with the bin."""
    edges = MEANS[by] + SDS[by] * np.linspace(-3, 3, n_bins + 1)
    share = np.full(n_bins, 1 / n_bins)
    views = []
    for i in range(n_spaces):
        mean = MEANS[i] + SDS[i] * np.linspace(-1, 1, n_bins)
        curves = [
            normal(MEANS[by], SDS[by], low=edges[b], high=edges[b + 1], n=12)
            if i == by
            else normal(mean[b], 0.8 * SDS[i])
            for b in range(n_bins)
        ]
        ratio = np.full(n_bins, 0.1 if i == by else 0.8)
        views.append(
            BinnedView(
                curves=tuple(curves), mean=mean, mean_error=0.01 * ratio, sd=SDS[i] * ratio, sd_error=0.001 * ratio,
                ratio=ratio, pooled_ratio=float(ratio[0]),
            )
        )  # fmt: skip
    n_pairs = np.full(n_bins, N_PAPERS * (N_PAPERS - 1) // 2 // n_bins)
    return Ridges(by=by, edges=edges, n_pairs=n_pairs, share=share, share_error=0.001 * share, spaces=tuple(views))


def joint(other: int) -> JointView:
    """A correlated normal distribution in 40 x 40 cells."""
    x = np.linspace(-4, 4, 41)
    mid = (x[1:] + x[:-1]) / 2
    a, b = np.meshgrid(mid, mid, indexing="ij")
    density = np.exp(-(a**2 - 0.9 * a * b + b**2))
    return JointView(
        other=other, first_edges=MEANS[0] + SDS[0] * x, second_edges=MEANS[other] + SDS[other] * x,
        counts=(density / density.sum() * N_PAPERS * (N_PAPERS - 1) / 2).astype(np.int64),
    )  # fmt: skip


def figure(
    n_spaces: int = 2,
    n_bins: int = 10,
    *,
    by: tuple[int, ...] = (0,),
    panels: tuple[str, ...] = ("raw",),
    label: str = "model",
) -> SimilarityFigure:
    """A figure of so many spaces and bins."""
    views = tuple(space(i, f"{label} {i}") for i in range(n_spaces))
    return SimilarityFigure(
        n_papers=N_PAPERS,
        binning="width",
        panels=tuple(
            Panel(
                transform=transform, spaces=views, ridges=tuple(ridges(n_spaces, n_bins, b) for b in by),
                joints=tuple(joint(i) for i in range(1, n_spaces)),
            )
            for transform in panels
        ),
    )  # fmt: skip
