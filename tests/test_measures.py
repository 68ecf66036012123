"""Intervals of a mean."""

import numpy as np

from embedsearch import measures


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    inside = [
        (i := measures.mean_interval(random.random(60), n_resamples=300, seed=n)).low <= 0.5 <= i.high
        for n in range(300)
    ]
    assert 0.90 < np.mean(inside) < 0.98


def test_interval_of_equal_values_has_no_width() -> None:
    assert str(measures.mean_interval([0.25, 0.25])) == "0.250 [0.250, 0.250]"
