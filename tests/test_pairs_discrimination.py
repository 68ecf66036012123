"""AUC of pairs of one category against pairs of two."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from embedsearch.pairs.compare.discrimination import auc
from embedsearch.pairs.compare.measured import Measured
from embedsearch.pairs.scan import scan_pairs
from embedsearch.scores import Float32, Float64, unit_rows


def draw(n: int, seed: int, apart: float) -> tuple[Float32, NDArray[np.int64]]:
    """Papers of three groups in eight dimensions, their middles `apart`."""
    random = np.random.default_rng(seed)
    groups = random.integers(3, size=n)
    x = random.normal(size=(n, 8))
    x[np.arange(n), groups] += apart
    return unit_rows(x), groups


def brute(vectors: Float32, groups: NDArray[np.int64]) -> float:
    i, j = np.triu_indices(len(vectors), 1)
    cosines = (vectors.astype(np.float64) @ vectors.T.astype(np.float64))[i, j]
    alike = groups[i] == groups[j]
    ordered: Float64 = np.sort(cosines[~alike])
    below = np.searchsorted(ordered, cosines[alike], "left") + np.searchsorted(ordered, cosines[alike], "right")
    return float(below.mean() / 2 / len(ordered))


def measure(vectors: Float32, groups: NDArray[np.int64]) -> Measured:
    scan = scan_pairs([vectors], groups=groups)
    assert scan.same is not None
    return auc(scan.marginals[0], scan.same[0], vectors, groups)


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_against_all_pairs(apart: float) -> None:
    vectors, groups = draw(150, 1, apart)
    assert measure(vectors, groups).value == pytest.approx(brute(vectors, groups), abs=2e-6)


def test_perfect_separation_is_one_and_one_point_is_a_tie() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    assert measure(vectors, np.repeat(np.arange(3), 4)).value == 1
    assert measure(np.repeat(vectors[:1], 12, axis=0), np.repeat(np.arange(3), 4)).value == 0.5


@pytest.mark.parametrize("apart", [0.5, 1.5])
def test_the_error_is_that_of_leaving_papers_out(apart: float) -> None:
    vectors, groups = draw(100, 2, apart)
    without = np.array([brute(np.delete(vectors, i, axis=0), np.delete(groups, i)) for i in range(100)])
    expected = np.sqrt(99 / 100 * np.square(without - without.mean()).sum())
    found = measure(vectors, groups)
    assert found.error == pytest.approx(expected, rel=0.05)
    assert np.corrcoef(found.deviations, without)[0, 1] > 0.99


def test_the_error_is_the_scatter_of_other_draws() -> None:
    found = [measure(*draw(120, seed, 1.0)) for seed in range(400)]
    scatter = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.error for one in found]) == pytest.approx(scatter, rel=0.15)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, groups = draw(90, 3, 1.0)
    whole = measure(vectors, groups)
    monkeypatch.setattr("embedsearch.pairs.compare.discrimination.BLOCK_ROWS", 32)
    done: list[int] = []
    scan = scan_pairs([vectors], groups=groups)
    assert scan.same is not None
    blocks = auc(scan.marginals[0], scan.same[0], vectors, groups, progress=done.append)
    np.testing.assert_allclose(blocks.deviations, whole.deviations, atol=1e-6)
    assert sum(done) == 32 * 90 + 32 * 58 + 26 * 26


def test_a_few_papers_have_an_error_too() -> None:
    """Two groups of two: each paper has half of the pairs of either kind."""
    vectors, _ = draw(4, 5, 0.0)
    error = measure(vectors, np.array([0, 0, 1, 1])).error
    assert 0 <= error < 2


def test_no_error_where_one_paper_has_all_pairs_of_a_kind() -> None:
    vectors, _ = draw(5, 6, 0.0)
    found = measure(vectors, np.array([0, 0, 1, 2, 3]))
    assert 0 <= found.value <= 1
    assert np.isnan(found.error)


def test_pairs_of_one_kind_alone_tell_nothing() -> None:
    vectors, _ = draw(20, 4, 1.0)
    assert np.isnan(measure(vectors, np.zeros(20, np.int64)).value)
    assert np.isnan(measure(vectors, np.arange(20)).error)
