"""Compare hits with the truth, ties allowed where ties are: the comparison of every search test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def assert_hits(
    found: Sequence[tuple[str, float]], truth: Mapping[str, float], *, k: int, tolerance: float = 0.0
) -> None:
    """Assert that `found`, pairs of id and score, are the best k of `truth`, which has the score of every allowed id.

    Scores within `tolerance` count as equal: then any order among them is right, and at the end any of them may be in.
    With tolerance 0 the order is fixed: by score, and by id where scores are equal.
    """
    ids = [id for id, _ in found]
    best = sorted(truth.items(), key=lambda item: (-item[1], item[0]))[:k]
    assert len(found) == len(best), f"expected {len(best)} hits, found {len(found)}"
    assert len(set(ids)) == len(ids), f"expected each id once, found {ids}"
    for id, score in found:
        assert id in truth, f"{id} is not allowed"
        assert abs(score - truth[id]) <= tolerance, f"{id}: expected score {truth[id]}, found {score}"
    for i, (id, _) in enumerate(found):
        assert abs(truth[id] - best[i][1]) <= tolerance, f"rank {i + 1}: expected a score of {best[i]}, found {id}"
    if tolerance == 0:
        assert ids == [id for id, _ in best], f"expected the order {[id for id, _ in best]}, found {ids}"
