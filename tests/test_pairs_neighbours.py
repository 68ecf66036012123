"""Neighbours, and what they say, against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from embedsearch.pairs.compare import neighbours as module
from embedsearch.pairs.compare.neighbours import Neighbours, category_hits, hubness, nearest, overlap, within
from embedsearch.scores import Float32, unit_rows


def points(n: int, d: int, seed: int = 0) -> Float32:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


def brute(vectors: Float32, members: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], Float32]:
    """Of each member its k nearest other members, by (-cosine in float32, position)."""
    wide = vectors.astype(np.float64)
    positions, scores = [], []
    for i in members:
        others = members[members != i]
        cosines = np.array([np.dot(wide[i], wide[j]) for j in others]).astype(np.float32)
        order = sorted(range(len(others)), key=lambda j: (-cosines[j], others[j]))[:k]
        positions.append(others[order])
        scores.append(cosines[order])
    return np.array(positions), np.array(scores)


def same(found: Neighbours, expected: tuple[NDArray[np.int64], Float32]) -> None:
    np.testing.assert_array_equal(found.positions, expected[0])
    np.testing.assert_allclose(found.scores, expected[1], rtol=0, atol=1e-7)


@pytest.mark.parametrize(("strip", "columns"), [(1024, 4096), (7, 16)])
@pytest.mark.parametrize("k", [1, 5, 59])
def test_nearest_is_brute_force(monkeypatch: pytest.MonkeyPatch, strip: int, columns: int, k: int) -> None:
    monkeypatch.setattr(module, "STRIP_ROWS", strip)
    monkeypatch.setattr(module, "STRIP_COLUMNS", columns)
    vectors = points(60, 5)
    done: list[int] = []
    same(nearest(vectors, k, progress=done.append), brute(vectors, np.arange(60), k))
    assert sum(done) == 60 * 60


def test_ties_go_to_the_earlier_position() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    vectors[4:8] *= -1  # cosines of -0 as well as of 0 and 1: they are one tie
    same(nearest(vectors, 7), brute(vectors, np.arange(12), 7))
    assert nearest(vectors, 7).positions[0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_negative_cosines_are_in_order() -> None:
    vectors = unit_rows(np.array([[1.0, 0], [-1, 0.1], [-1, 0.5], [-1, 0.9], [-1, -0.2]]))
    assert nearest(vectors, 4).positions[0].tolist() == [3, 2, 4, 1]


@pytest.mark.parametrize("m", [79, 30, 10])  # 10 is too short for most: they are searched anew
def test_the_neighbours_in_a_part_are_those_of_a_search_there(m: int) -> None:
    vectors = points(80, 6)
    part = np.random.default_rng(1).random(80) < 0.5
    found = within(nearest(vectors, m), part, 10, vectors=vectors)
    same(found, brute(vectors, np.flatnonzero(part), 10))


def test_category_votes_and_their_ties() -> None:
    groups = np.array([0, 0, 1, 1, 2, 0])
    positions = np.array([[1, 2, 3], [1, 2, 4], [4, 2, 1], [2, 1, 4]])
    scores = np.array([[0.9, 0.2, 0.1], [0.9, 0.8, 0.7], [0.5, 0.5, 0.5], [0.5, 0.6, 0.4]], np.float32)
    # Majority; a tie that the largest sum wins; a tie in the sums that the smaller number wins; the sum again
    hits = category_hits(Neighbours(positions, scores), np.array([1, 0, 0, 1]), groups)
    assert hits.tolist() == [1, 1, 1, 0]


def test_two_weak_votes_beat_a_strong_one() -> None:
    found = Neighbours(np.array([[0, 1, 2]]), np.array([[0.9, 0.1, 0.1]], np.float32))
    assert category_hits(found, np.array([5]), np.array([4, 5, 5])).tolist() == [1]


def test_hubness_is_the_skewness_of_the_occurrences() -> None:
    vectors = points(50, 20)
    found = nearest(vectors, 10)
    counts = np.zeros(50)
    for row in found.positions:
        for j in row:
            counts[j] += 1
    expected = ((counts - 10) ** 3).mean() / counts.std() ** 3
    assert hubness(found, np.arange(50)) == pytest.approx(expected, rel=1e-12)


def test_a_hub_raises_hubness_and_a_ring_has_none() -> None:
    angles = np.arange(12) * 2 * np.pi / 12
    ring = unit_rows(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert hubness(nearest(ring, 2), np.arange(12)) == 0
    star = unit_rows(np.concatenate([[np.zeros(12)], np.eye(12)]) + 0.1)
    assert hubness(nearest(star, 1), np.arange(13)) > 3


def test_hubness_in_a_part_counts_its_papers_alone() -> None:
    vectors = points(40, 8)
    part = np.arange(40) % 2 == 1
    inside = within(nearest(vectors, 39), part, 5, vectors=vectors)
    alone = nearest(vectors[part], 5)
    assert hubness(inside, np.flatnonzero(part)) == pytest.approx(hubness(alone, np.arange(20)), rel=1e-12)


def test_overlap_of_a_space_with_itself_and_after_a_rotation_is_one() -> None:
    vectors = points(70, 9)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(9, 9)))[0]
    found, turned = nearest(vectors, 10), nearest(unit_rows(vectors @ rotation), 10)
    assert (overlap(found, found) == 1).all()
    assert (overlap(found, turned) == 1).all()


def test_overlap_of_unrelated_spaces_is_chance() -> None:
    a, b = nearest(points(800, 6, seed=1), 40), nearest(points(800, 6, seed=2), 40)
    expected = [len(set(x) & set(y)) / 40 for x, y in zip(a.positions, b.positions, strict=True)]
    assert overlap(a, b).tolist() == expected
    assert np.mean(expected) == pytest.approx(40 / 799, rel=0.08)
