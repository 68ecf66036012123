"""The comparison helper must reject what is wrong."""

import pytest
from assert_hits import assert_hits

TRUTH = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.1}


def test_accepts_the_best_in_order() -> None:
    assert_hits([("a", 0.9), ("b", 0.8)], TRUTH, k=2)


def test_accepts_any_of_a_tie_within_the_tolerance() -> None:
    assert_hits([("a", 0.9), ("c", 0.8)], TRUTH, k=2, tolerance=1e-9)
    assert_hits([("a", 0.9), ("c", 0.8), ("b", 0.8)], TRUTH, k=3, tolerance=1e-9)


@pytest.mark.parametrize(
    "found",
    [
        [("a", 0.9)],
        [("a", 0.9), ("c", 0.8)],
        [("b", 0.8), ("a", 0.9)],
        [("a", 0.9), ("d", 0.1)],
        [("a", 0.9), ("b", 0.7)],
        [("a", 0.9), ("a", 0.9)],
        [("a", 0.9), ("x", 0.8)],
        [("a", 0.9), ("b", 0.8), ("c", 0.8)],
    ],
    ids=["too few", "ties by id", "order", "not the best", "score", "twice", "not allowed", "too many"],
)
def test_rejects(found: list[tuple[str, float]]) -> None:
    with pytest.raises(AssertionError):
        assert_hits(found, TRUTH, k=2)


def test_rejects_a_lower_score_within_the_tolerance_of_another() -> None:
    with pytest.raises(AssertionError):
        assert_hits([("a", 0.9), ("d", 0.1)], TRUTH, k=2, tolerance=0.01)
