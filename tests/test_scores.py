"""The exact paths against float64, and everything fast against the exact ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedsearch import scores
from embedsearch.errors import BadVector


def unit(n: int, d: int, seed: int = 0) -> scores.Float32:
    return scores.unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


def test_unit_rows_have_length_one() -> None:
    rows = scores.unit_rows(np.array([[3.0, 4.0], [0.0, 1e-30]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 1.0]], rtol=1e-7)


@pytest.mark.parametrize(("value", "found"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "length zero")])
def test_unit_rows_name_the_bad_position(value: float, found: str) -> None:
    with pytest.raises(BadVector, match=f"{found}.* at position 1") as error:
        scores.unit_rows(np.array([[1.0, 0.0], [0.0, value]]))
    assert error.value.position == 1


@pytest.mark.parametrize("d", [2, 3, 17, 384, 576, 1536])
def test_a_cosine_is_the_same_bit_for_bit_whatever_it_is_computed_beside(d: int) -> None:
    rows, query = unit(5000, d), unit(1, d, 1)[0]
    whole = scores.cosines(query, rows)
    np.testing.assert_allclose(whole, rows.astype(float) @ query.astype(float), atol=1e-7)
    picked = np.random.default_rng(2).permutation(5000)[:333]
    assert (scores.cosines(query, rows[picked]) == whole[picked]).all()
    assert (scores.cosines(query, rows[7:8]) == whole[7:8]).all()
    assert scores.cosines(rows[3], rows[4:5])[0] == scores.cosines(rows[4], rows[3:4])[0]


def test_the_margin_is_never_crossed() -> None:
    rows, queries = unit(2000, 384), unit(50, 384, 1)
    true = queries.astype(np.float64) @ rows.astype(np.float64).T
    assert abs(queries @ rows.T - true).max() < scores.product_margin(384)


def blocks_of(rows: scores.Float32, size: int) -> list[tuple[int, scores.Float32]]:
    return [(first, rows[first : first + size]) for first in range(0, len(rows), size)]


@given(
    n=st.integers(1, 200),
    k=st.integers(1, 250),
    size=st.integers(1, 70),
    n_distinct=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_exact_top_k_is_the_best_k_with_all_their_ties(
    n: int, k: int, size: int, n_distinct: int, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = unit(n_distinct, 16, seed)[random.integers(n_distinct, size=n)]  # repeated rows: ties everywhere
    queries = unit(3, 16, seed + 1)
    allowed = random.random(n) < share
    for mask in (None, allowed):
        usable = np.arange(n) if mask is None else np.flatnonzero(mask)
        for query, (found, its) in zip(
            queries, scores.exact_top_k(queries, blocks_of(rows, size), k, allowed=mask), strict=True
        ):
            all_scores = scores.cosines(query, rows[usable])
            keep = scores.at_least_kth(all_scores, k)
            assert found.tolist() == usable[keep].tolist()
            assert (its == all_scores[keep]).all()
            assert len(found) >= min(k, len(usable))


def test_best_first_orders_by_score_then_id() -> None:
    assert scores.best_first([0.5, 0.9, 0.5, 0.9], ["b", "d", "a", "c"]) == [3, 1, 2, 0]
