"""Effective rank and leading directions."""

from __future__ import annotations

import numpy as np
import pytest

from embedsearch.errors import BadVector
from embedsearch.pairs.compare.spectrum import centred, spectrum, without_leading
from embedsearch.scores import Float32, unit_rows
from embedsearch.transform import TransformSpec, fit


def draw(n: int, seed: int, scales: np.ndarray, common: float = 0.5) -> Float32:
    x = np.random.default_rng(seed).normal(size=(n, len(scales))) * scales
    x[:, -1] += common
    return unit_rows(x)


SCALES = np.array([1.0, 0.6, 0.4, 0.3, 0.2, 0.1])


def test_against_the_singular_values() -> None:
    rows = draw(90, 0, SCALES)
    wide = rows.astype(np.float64)
    p = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False) ** 2
    p /= p.sum()
    found = spectrum(rows)
    assert found.effective_rank.value == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-10)
    assert found.leading_share.value == pytest.approx(p[0], rel=1e-10)
    assert found.centroid.value == pytest.approx(np.square(wide.mean(axis=0)).sum(), rel=1e-12)


def test_the_centroid_is_the_mean_cosine_with_the_diagonal() -> None:
    rows = draw(40, 1, SCALES)
    assert spectrum(rows).centroid.value == pytest.approx(float((rows @ rows.T).mean(dtype=np.float64)), rel=1e-6)


def test_equal_variances_give_the_dimension_and_a_line_gives_one() -> None:
    axes = np.concatenate([np.eye(5), -np.eye(5)]).astype(np.float32)
    assert spectrum(axes).effective_rank.value == pytest.approx(5)
    assert spectrum(axes[[0, 5, 0]]).effective_rank.value == pytest.approx(1)
    assert spectrum(axes[[0, 5, 0]]).leading_share.value == pytest.approx(1)


def test_fewer_papers_than_dimensions() -> None:
    found = spectrum(draw(4, 0, np.ones(20)))
    assert 1 < found.effective_rank.value <= 3 + 1e-9
    assert np.isfinite(found.effective_rank.error)


def test_a_rotation_changes_nothing() -> None:
    rows = draw(80, 2, SCALES)
    turned = unit_rows(rows @ np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0])
    assert spectrum(turned).effective_rank.value == pytest.approx(spectrum(rows).effective_rank.value, rel=1e-6)
    assert spectrum(turned).effective_rank.error == pytest.approx(spectrum(rows).effective_rank.error, rel=1e-5)


def test_one_point_has_no_rank() -> None:
    found = spectrum(np.repeat(np.eye(4, dtype=np.float32)[:1], 5, axis=0))
    assert np.isnan(found.effective_rank.value)
    assert found.centroid.value == pytest.approx(1)


@pytest.mark.parametrize("name", ["effective_rank", "leading_share", "centroid"])
def test_stated_errors_are_the_scatter_of_other_draws(name: str) -> None:
    found = [getattr(spectrum(draw(150, seed, SCALES)), name) for seed in range(400)]
    scatter = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.error for one in found]) == pytest.approx(scatter, rel=0.15)


def test_centring_and_removal_are_the_transforms() -> None:
    rows = draw(70, 3, SCALES)
    found = spectrum(rows)
    for kind, made in (
        ("center", centred(rows, found.mean)),
        ("remove-top:1", without_leading(rows, found, 1)),
        ("remove-top:3", without_leading(rows, found, 3)),
    ):
        expected = fit(TransformSpec.parse(kind), [(0, rows)], dim=6).apply(rows)
        np.testing.assert_allclose(made, expected, atol=2e-7)


def test_a_paper_on_the_mean_is_named() -> None:
    rows = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    with pytest.raises(BadVector, match="position 0"):
        centred(rows, spectrum(rows).mean)
