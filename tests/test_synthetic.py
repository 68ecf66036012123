"""Vectors made for measures lie as those that they are made from."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic import SHARD_ROWS, Source, described, nearest, source
from embedsearch.scores import Float32, unit_rows
from embedsearch.store.vectors import ShardedVectors


@pytest.fixture(scope="module")
def real() -> Float32:
    """Papers on 60 subjects, in few directions more than in others."""
    rng = np.random.default_rng(5)
    spectrum = np.arange(1, 257) ** -0.4
    subjects = rng.standard_normal((60, 256)) * spectrum
    return unit_rows(subjects[rng.integers(0, 60, 1200)] + rng.standard_normal((1200, 256)) * spectrum * 0.7)


@pytest.fixture(scope="module")
def made(real: Float32) -> Source:
    return source(real, seed=3)


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others(real: Float32, made: Source) -> None:
    assert np.array_equal(source(real, seed=3).shard(0, 50), made.shard(0, 50))
    assert not np.array_equal(source(real, seed=4).shard(0, 50), made.shard(0, 50))


def test_a_vector_does_not_depend_on_how_many_are_made(made: Source) -> None:
    few = np.concatenate([rows for _, rows in made.blocks(100)])
    many = np.concatenate([rows for _, rows in made.blocks(SHARD_ROWS + 100)])
    assert np.array_equal(few, many[:100])
    assert np.array_equal(made.shard(1, 100), many[SHARD_ROWS:])


def test_rows_have_length_one_and_queries_are_not_among_them(made: Source) -> None:
    rows, queries = made.shard(0), made.queries(100)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert (queries @ rows.T).max() < 0.9999


def test_neighbours_and_spectrum_agree_with_the_real_ones(real: Float32, made: Source) -> None:
    new, old = described(made.shard(0, len(real))), described(real)
    for name in ("1st neighbour", "10th neighbour", "pairs: mean, sd"):
        assert new[name] == pytest.approx(old[name], abs=0.06), name
    plain = described(unit_rows(np.random.default_rng(0).standard_normal(real.shape)))
    assert plain["1st neighbour"] != pytest.approx(old["1st neighbour"], abs=0.06)
    assert new["effective dimensions"] == pytest.approx(old["effective dimensions"], rel=0.25)


def test_nearest_agrees_with_sorting_all(real: Float32) -> None:
    scores, found = nearest(real[:5], real, 3, leave_out_self=True)
    products = real[:5] @ real.T
    products[np.arange(5), np.arange(5)] = -2
    assert np.array_equal(found, np.argsort(-products, axis=1)[:, :3])
    assert scores == pytest.approx(np.sort(products, axis=1)[:, :-4:-1], abs=1e-5)


def test_what_is_written_is_what_a_store_reads(tmp_path: Path, made: Source) -> None:
    shards = made.write(tmp_path, SHARD_ROWS + 10)
    vectors = ShardedVectors(tmp_path, shards, dim=made.dim, transform=None)
    assert vectors.n_rows == SHARD_ROWS + 10
    assert vectors.rows(np.array([SHARD_ROWS + 9]))[0] == pytest.approx(made.shard(1, 10)[9], abs=1e-3)


def test_longer_vectors_keep_most_of_what_is_near_and_no_coordinate_stands_out(real: Float32) -> None:
    longer = source(real[:400], seed=3, dim=320)
    shorter = source(real[:400], seed=3)
    rows, before = longer.shard(0, 400), shorter.shard(0, 400)
    assert rows.shape == (400, longer.dim) == (400, 320)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)
    kept = 1 / (1 + (longer.tail**2).sum())
    assert 0.5 < kept < 1
    assert rows @ rows.T == pytest.approx(before @ before.T * kept, abs=0.2)
    assert np.corrcoef((rows @ rows.T).ravel(), (before @ before.T).ravel())[0, 1] > 0.95
    assert rows.var(axis=0).max() < 4 * rows.var(axis=0).mean()
    with pytest.raises(ValueError, match="expected at least the 256 numbers of the real vectors, found 255"):
        source(real, dim=255)
