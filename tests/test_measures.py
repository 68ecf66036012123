"""Measures of a ranking, on rankings that can be counted by hand."""

import numpy as np
import pytest

from embedsearch import measures


@pytest.mark.parametrize(
    ("ranked", "relevant", "expected"),
    [("abc", "a", 1.0), ("abc", "c", 1 / 3), ("abc", "cb", 1 / 2), ("abc", "x", 0.0), ("", "x", 0.0)],
)
def test_reciprocal_rank(ranked: str, relevant: str, expected: float) -> None:
    assert measures.reciprocal_rank(ranked, set(relevant)) == expected


def test_cut_at_k() -> None:
    assert measures.reciprocal_rank("abc", "c", k=2) == 0
    assert measures.recall("abc", "bcx", k=2) == pytest.approx(1 / 3)


def test_recall() -> None:
    assert measures.recall("abcd", "adxy") == 0.5


def test_ndcg() -> None:
    assert measures.ndcg("ab", "ab") == pytest.approx(1.0)
    assert measures.ndcg("xa", "a") == pytest.approx(1 / np.log2(3))
    assert measures.ndcg("xy", "a") == 0


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    inside = [
        (i := measures.mean_interval(random.random(60), n_resamples=300, seed=n)).low <= 0.5 <= i.high
        for n in range(300)
    ]
    assert 0.90 < np.mean(inside) < 0.98


def test_interval_of_equal_values_has_no_width() -> None:
    assert str(measures.mean_interval([0.25, 0.25])) == "0.250 [0.250, 0.250]"
