"""Every number of a similarity figure by brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest

from embedsearch.pairs.figure import SimilarityFigure
from embedsearch.scores import Float64
from embedsearch.store.space import Space


def cosines(space: Space) -> Float64:
    """Of all pairs, float64."""
    rows = space.vectors.astype(np.float64)
    return (rows @ rows.T)[np.triu_indices(len(rows), 1)]


def check(data: SimilarityFigure, given: list[Space]) -> None:
    """Every number of a figure without transforms against brute force."""
    of_all = [cosines(space) for space in given]
    (panel,) = data.panels
    for view, pairs in zip(panel.spaces, of_all, strict=True):
        assert view.mean.value == pytest.approx(pairs.mean(), abs=1e-8)
        assert view.sd.value == pytest.approx(pairs.std(), abs=1e-8)
        assert (view.minimum, view.maximum) == pytest.approx((pairs.min(), pairs.max()), abs=1e-6)
        check_curve(view.curve.edges, view.curve.density, pairs)
    for ridges in panel.ridges:
        by = of_all[ridges.by]
        assert ridges.n_pairs.sum() == data.n_pairs == len(by)
        assert ridges.share.sum() == pytest.approx(1)
        near = sum(int((abs(by - edge) < 1e-6).sum()) for edge in ridges.edges[1:-1])
        which = np.clip(np.searchsorted(ridges.edges, by, side="right") - 1, 0, len(ridges.n_pairs) - 1)
        assert abs(ridges.n_pairs - np.bincount(which, minlength=len(ridges.n_pairs))).sum() <= 2 * near
        for view, pairs in zip(ridges.spaces, of_all, strict=True):
            within = 0.0
            for b in range(len(ridges.n_pairs)):
                inside = pairs[which == b]
                assert view.mean[b] == pytest.approx(inside.mean(), abs=1e-5)
                assert view.sd[b] == pytest.approx(inside.std(), abs=1e-5)
                assert view.ratio[b] == pytest.approx(inside.std() / pairs.std(), abs=1e-4)
                check_curve(view.curves[b].edges, view.curves[b].density, inside)
                within += inside.var() * len(inside) / len(pairs)
            assert view.pooled_ratio == pytest.approx(np.sqrt(within) / pairs.std(), abs=1e-4)
    for view in panel.joints:
        expected, _, _ = np.histogram2d(of_all[0], of_all[view.other], bins=[view.first_edges, view.second_edges])
        assert view.counts.sum() == data.n_pairs
        assert abs(view.counts - expected).sum() < 2e-3 * data.n_pairs  # pairs within rounding of an edge


def check_curve(edges: Float64, density: Float64, pairs: Float64) -> None:
    """A density has area one, and in each step the share of the pairs, but for those within rounding of an edge."""
    assert (density * np.diff(edges)).sum() == pytest.approx(1, abs=1e-9)
    shares = np.histogram(pairs, edges)[0] / len(pairs)
    near = sum(int((abs(pairs - edge) < 2e-6).sum()) for edge in edges)
    assert abs(density * np.diff(edges) - shares).sum() <= 2 * (near + 1) / len(pairs)
