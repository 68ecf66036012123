"""Sums without pairs, and their errors, against all pairs and against simulated draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pair_spaces import brute_force, rotated, two_spaces

from embedsearch.errors import OptionError
from embedsearch.pairs.binned import bin_pairs
from embedsearch.pairs.moments import Estimate, cka, moments, pearson
from embedsearch.pairs.scan import scan_pairs
from embedsearch.scores import Float32, Float64, unit_rows


def jackknifed(statistic: Callable[..., float], *spaces: Float32) -> Estimate:
    """The statistic of the papers, and its error by leaving out each in turn and computing it anew."""
    n = len(spaces[0])
    left = np.array([statistic(*(np.delete(rows, i, axis=0) for rows in spaces)) for i in range(n)])
    return Estimate(statistic(*spaces), float(np.sqrt((n - 1) * left.var())))


def direct_hsic(a: Float32, b: Float32) -> float:
    """Song et al. (2012), eq. 5, with matrices."""
    n = len(a)
    k, other = (np.where(np.eye(n), 0, rows.astype(float) @ rows.T.astype(float)) for rows in (a, b))
    ones = np.ones(n)
    crossed = ones @ k @ ones * (ones @ other @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ k @ other @ ones
    return float((np.trace(k @ other) + crossed) / (n * (n - 3)))


def direct_cka(a: Float32, b: Float32) -> float:
    return direct_hsic(a, b) / float(np.sqrt(direct_hsic(a, a) * direct_hsic(b, b)))


def assert_same(found: Estimate, expected: Estimate) -> None:
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.error == pytest.approx(expected.error, rel=1e-6)


@pytest.mark.parametrize("n", [6, 60])
def test_the_sums_are_those_of_all_pairs(n: int) -> None:
    a, b = two_spaces(n)
    found = moments(a)
    assert found.n_papers == n
    assert_same(found.mean, jackknifed(lambda rows: float(brute_force(rows).mean()), a))
    assert_same(found.sd, jackknifed(lambda rows: float(brute_force(rows).std()), a))
    both = jackknifed(lambda a, b: float(np.corrcoef(brute_force(a), brute_force(b))[0, 1]), a, b)
    assert_same(pearson(a, b), both)
    assert_same(cka(a, b), jackknifed(direct_cka, a, b))


def test_scan_and_moments_agree() -> None:
    a, b = two_spaces(2100, dim=64)
    scanned = scan_pairs([a, b])
    for rows, mean, sd in zip((a, b), scanned.means, scanned.sds, strict=True):
        assert moments(rows).mean.value == pytest.approx(mean, abs=1e-9)
        assert moments(rows).sd.value == pytest.approx(sd, abs=1e-9)
    assert pearson(a, b).value == pytest.approx(scanned.correlations[0], abs=1e-9)


def in_blocks(rows: Float32, size: int = 37) -> Callable[[], list[tuple[int, Float32]]]:
    return lambda: [(first, rows[first : first + size]) for first in range(0, len(rows), size)]


def test_blocks_give_what_arrays_give() -> None:
    a, b = two_spaces(100)
    assert_same(moments(in_blocks(a)).mean, moments(a).mean)
    assert_same(pearson(in_blocks(a), in_blocks(b)), pearson(a, b))
    assert_same(cka(in_blocks(a), in_blocks(b)), cka(a, b))


def test_known_values() -> None:
    a, b = two_spaces(400, noise=0.5)
    for measure in (pearson, cka):
        assert measure(a, a).value == pytest.approx(1, abs=1e-12)
        assert measure(a, rotated(a)).value == pytest.approx(1, abs=1e-6)
        assert measure(a, b).value == pytest.approx(measure(b, a).value, abs=1e-12)
    wide = [unit_rows(np.random.default_rng(seed).standard_normal((60, 500))) for seed in (1, 2)]
    assert abs(cka(wide[0], wide[1]).value) < 0.1  # without debiasing: above 0.8


def test_equal_papers_have_no_spread() -> None:
    same = np.tile(unit_rows(np.ones((1, 8))), (20, 1))
    assert moments(same).sd.value == pytest.approx(0, abs=1e-7)
    assert np.isnan(pearson(same, two_spaces(20)[0]).value)


def test_a_centred_space_states_no_error_of_its_mean() -> None:
    a = two_spaces(200)[0].astype(np.float64)
    centred = unit_rows(a - a.mean(axis=0))
    assert np.isnan(moments(centred, centred=True).mean.error)
    assert moments(centred, centred=True).sd.error > 0
    assert np.isnan(moments(np.concatenate([centred, -centred])).mean.error)  # its centroid is zero
    assert moments(a.astype(np.float32)).mean.error > 0


def test_too_few_or_other_papers_are_refused() -> None:
    a, b = two_spaces(4)
    with pytest.raises(OptionError, match="at least 3 papers, found 2"):
        moments(a[:2])
    with pytest.raises(OptionError, match="at least 5 papers, found 4"):
        cka(a, b)
    with pytest.raises(OptionError, match="same papers in each space"):
        pearson(a, b[:3])


EDGES = np.array([-1, 0.0, 0.2, 0.4, 1])


def statistics_of(a: Float32, b: Float32) -> tuple[Float64, Float64]:
    """Values and stated errors of everything that has an error, one draw."""
    first, second = moments(a), moments(b)
    bins = bin_pairs([a, b], EDGES, ranges=[(-1, 1), (-1, 1)])
    estimates = [first.mean, first.sd, second.mean, pearson(a, b), cka(a, b)]
    values = [each.value for each in estimates] + [bins.share[0], bins.spaces[1].mean[1], bins.spaces[1].sd[1]]
    errors = [bins.share_error[0], bins.spaces[1].mean_error[1], bins.spaces[1].sd_error[1]]
    return np.array(values), np.array([each.error for each in estimates] + errors)


def test_over_400_draws_the_stated_errors_are_the_scatter() -> None:
    draws = [statistics_of(*two_spaces(150, seed=seed, dim=6)) for seed in range(400)]
    scatter = np.std([values for values, _ in draws], axis=0, ddof=1)
    stated = np.sqrt(np.mean([errors**2 for _, errors in draws], axis=0))
    assert stated / scatter == pytest.approx(1, abs=0.15)


def test_the_error_of_a_mean_is_twice_that_of_its_papers_means() -> None:
    a = two_spaces(2000)[0]
    cosines = a.astype(float) @ a.T.astype(float)
    means = (cosines.sum(axis=1) - np.diag(cosines)) / (len(a) - 1)
    assert moments(a).mean.error == pytest.approx(2 * means.std() / np.sqrt(len(a)), rel=1e-2)
