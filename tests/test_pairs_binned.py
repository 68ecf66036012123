"""The pairs in bins of one space's cosine, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from pair_spaces import brute_force, two_spaces

from embedsearch.pairs.binned import BinnedPairs, bin_pairs
from embedsearch.pairs.scan import scan_pairs
from embedsearch.scores import Float32, unit_rows


def ranges(spaces: list[Float32]) -> list[tuple[float, float]]:
    return [(marginal.minimum, marginal.maximum) for marginal in scan_pairs(spaces).marginals]


@pytest.mark.parametrize(("n", "by"), [(2, 0), (3, 1), (300, 0), (1100, 1)])
def test_every_bin_holds_what_brute_force_finds(n: int, by: int) -> None:
    spaces = two_spaces(n)
    edges = scan_pairs(spaces).marginals[by].bin_edges(4)
    found = bin_pairs(spaces, edges, by=by, n_density=50)
    cosines = [brute_force(rows) for rows in spaces]
    which = np.searchsorted(edges[1:-1], cosines[by], side="right")
    assert found.n_pairs.sum() == len(which)
    assert np.abs(found.n_pairs - np.bincount(which, minlength=4)).max() <= 1e-5 * len(which)
    for space, mine in zip(found.spaces, cosines, strict=True):
        assert space.counts.shape == (4, 50)
        assert (space.counts.sum(axis=1) == found.n_pairs).all()
        for b in np.flatnonzero(found.n_pairs):
            assert space.mean[b] == pytest.approx(mine[which == b].mean(), abs=1e-5)
            assert space.sd[b] == pytest.approx(mine[which == b].std(), abs=1e-5)
            assert (space.density[b] * np.diff(space.edges)).sum() == pytest.approx(1)


def test_the_errors_are_those_of_leaving_out_each_paper() -> None:
    spaces = two_spaces(40)
    edges = np.array([-1, 0.1, 0.4, 1])
    found = bin_pairs(spaces, edges, n_density=10)
    left = [bin_pairs([np.delete(rows, i, axis=0) for rows in spaces], edges, n_density=10) for i in range(40)]

    def error(values: list[np.ndarray]) -> np.ndarray:
        return np.sqrt(39 * np.var(values, axis=0))

    assert found.share_error == pytest.approx(error([each.share for each in left]), rel=1e-6)
    for s, space in enumerate(found.spaces):
        assert space.mean_error == pytest.approx(error([each.spaces[s].mean for each in left]), rel=1e-5)
        assert space.sd_error == pytest.approx(error([each.spaces[s].sd for each in left]), rel=1e-5)


def test_the_scan_and_the_bins_count_the_same() -> None:
    spaces = two_spaces(2500)
    scanned = scan_pairs(spaces)
    for by, marginal in enumerate(scanned.marginals):
        found = bin_pairs(spaces, marginal.bin_edges(10), by=by, ranges=ranges(spaces))
        assert np.abs(found.share - 0.1).max() < 1e-4
        assert found.n_pairs.sum() == scanned.n_pairs


def spread_within(found: BinnedPairs, spaces: list[Float32]) -> list[float]:
    """The median over bins of sd in the bin over sd of all pairs, of each space."""
    sds = scan_pairs(spaces).sds
    return [float(np.median(space.sd)) / sd for space, sd in zip(found.spaces, sds, strict=True)]


def test_the_space_that_is_not_binned_by_spreads_more_by_construction() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1500, 12))
    spaces = [unit_rows(signal + 1.2 * rng.standard_normal(signal.shape)) for _ in range(2)]
    for by in (0, 1):
        edges = scan_pairs(spaces).marginals[by].bin_edges(10)
        ratios = spread_within(bin_pairs(spaces, edges, by=by), spaces)
        assert ratios[by] < 0.2
        assert ratios[1 - by] > 0.85


def test_a_bin_without_pairs_has_no_numbers() -> None:
    found = bin_pairs(two_spaces(50), np.array([-1, 0.2, 0.2, 1]))
    assert found.n_pairs[1] == 0
    assert np.isnan([found.spaces[1].mean[1], found.spaces[1].sd_error[1]]).all()
    assert (found.spaces[0].density[1] == 0).all()


def test_identical_papers_lie_in_one_bin() -> None:
    same = np.tile(unit_rows(np.ones((1, 4))), (30, 1))
    found = bin_pairs([same], scan_pairs([same]).marginals[0].bin_edges(3))
    assert sorted(found.n_pairs) == [0, 0, 435]
