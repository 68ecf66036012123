"""Errors, and the errors of differences."""

from __future__ import annotations

import numpy as np
import pytest

from embedsearch.pairs.compare.measured import UNKNOWN, from_halves, from_influence, from_left_out, half_samples

X = np.random.default_rng(0).gamma(2.0, size=60)


def test_the_error_of_a_mean_is_the_textbook_one() -> None:
    expected = X.std(ddof=1) / np.sqrt(60)
    assert from_influence(X.mean(), X - X.mean()).error == pytest.approx(expected, rel=1e-12)
    without = (X.sum() - X) / 59
    assert from_left_out(X.mean(), without).error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [60, 61])
def test_the_halves_error_of_a_mean_is_the_textbook_one(n: int) -> None:
    x = np.resize(X, n)
    halves = half_samples(n, n_halves=4000, seed=0)
    found = from_halves(x.mean(), [x[half].mean() for half in halves], n=n, n_half=n // 2)
    assert found.error == pytest.approx(x.std(ddof=1) / np.sqrt(n), rel=0.05)


def test_halves_are_half_and_are_the_same_each_time() -> None:
    halves = half_samples(11, n_halves=30, seed=4)
    assert {int(half.sum()) for half in halves} == {5}
    assert np.array_equal(halves, half_samples(11, n_halves=30, seed=4))
    assert not np.array_equal(halves, half_samples(11, n_halves=30, seed=5))


def test_what_moves_both_alike_drops_out_of_the_difference() -> None:
    a, b = from_influence(X.mean(), X - X.mean()), from_influence(X.mean() - 1, X - X.mean())
    assert a.minus(b).value == pytest.approx(1)
    assert a.minus(b).error == pytest.approx(0, abs=1e-15)
    low, high = a.interval
    assert high - low == pytest.approx(2 * 1.959964 * a.error)


def test_what_is_not_known_has_no_error() -> None:
    assert np.isnan(UNKNOWN.error)
    assert np.isnan(UNKNOWN.minus(from_influence(1.0, X)).error)
    assert np.isnan(from_halves(1.0, [0.5, np.nan], n=4, n_half=2).error)
