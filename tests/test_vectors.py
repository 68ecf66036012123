"""Shards: what is read is what was written, by row and by block."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from embedsearch import transform
from embedsearch.errors import StoreCorrupt
from embedsearch.scores import TOLERANCE, Float32, unit_rows
from embedsearch.store import vectors as v
from embedsearch.store.manifest import Shard


def unit(n: int, d: int = 16) -> Float32:
    return unit_rows(np.random.default_rng(0).normal(size=(n, d)))


def shards(
    folder: Path, rows: Float32, *, size: int = 4, dtype: str = "float32", skip: tuple[int, ...] = ()
) -> list[Shard]:
    (folder / "vectors").mkdir()
    made = []
    for number, first in enumerate(range(0, len(rows), size), 1):
        if number not in skip:
            part = rows[first : first + size]
            entry = v.write_shard(folder, number=number, vectors=part, dtype=dtype)
            made.append(Shard(entry, first, len(part), 0, 0, {}))
    return made


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_and_blocks(tmp_path: Path, dtype: str) -> None:
    rows = unit(10)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows, dtype=dtype), dim=16, transform=None)
    picked = np.array([9, 0, 4, 4, 3])
    np.testing.assert_allclose(stored.rows(picked), rows[picked], atol=TOLERANCE[dtype])
    np.testing.assert_allclose(np.linalg.norm(stored.rows(picked), axis=1), 1, atol=1e-6)
    blocks = list(stored.blocks())
    assert [first for first, _ in blocks] == [0, 4, 8]
    assert (np.concatenate([block for _, block in blocks]) == stored.rows(np.arange(10))).all()


def test_a_gap_where_a_shard_is_not_built_yet(tmp_path: Path) -> None:
    rows = unit(10)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows, skip=(2,)), dim=16, transform=None)
    assert stored.n_rows == 6
    assert stored.has(np.arange(11)).tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0]
    np.testing.assert_allclose(stored.rows(np.array([9])), rows[[9]], atol=1e-6)


def test_no_shard_at_all(tmp_path: Path) -> None:
    stored = v.ShardedVectors(tmp_path, [], dim=16, transform=None)
    assert stored.n_rows == 0
    assert not stored.has(np.arange(3)).any()
    assert stored.rows(np.arange(0)).shape == (0, 16)


def test_maps_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v, "MAX_OPEN_MAPS", 2)
    rows = unit(40)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows), dim=16, transform=None)
    np.testing.assert_allclose(stored.rows(np.arange(40)[::-1]), rows[::-1], atol=1e-6)
    assert len(stored._maps) == 2


def test_a_transform_is_applied_on_read(tmp_path: Path) -> None:
    rows = unit(50)
    plain = v.ShardedVectors(tmp_path, made := shards(tmp_path, rows), dim=16, transform=None)
    fitted = transform.fit(transform.TransformSpec.parse("whiten:3"), plain.blocks(), dim=16)
    stored = v.ShardedVectors(tmp_path, made, dim=16, transform=fitted)
    assert stored.dim == 3
    assert (stored.rows(np.arange(50)) == fitted.apply(plain.rows(np.arange(50)))).all()


def test_the_name_holds_the_hash_so_equal_bytes_have_equal_names(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    entries = {v.write_shard(tmp_path, number=1, vectors=unit(3), dtype="float16") for _ in range(2)}
    assert len(entries) == 1
    assert entries.pop().name.startswith("vectors/000001-")


def test_what_is_no_shard(tmp_path: Path) -> None:
    made = shards(tmp_path, unit(3))
    path = tmp_path / made[0].file.name
    with pytest.raises(StoreCorrupt, match=r"expected 3 vectors of 8 in .*, found float32 \(3, 16\)"):
        v.open_shard(tmp_path, made[0], dim=8)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(StoreCorrupt, match="expected vectors in"):
        v.open_shard(tmp_path, made[0], dim=16)
    path.write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="expected vectors in"):
        v.open_shard(tmp_path, made[0], dim=16)
    path.unlink()
    with pytest.raises(StoreCorrupt, match="found no such file"):
        v.open_shard(tmp_path, made[0], dim=16)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    made = shards(tmp_path, unit(3))
    np.save(tmp_path / made[0].file.name, np.array([{}] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(StoreCorrupt):
        v.open_shard(tmp_path, made[0], dim=16)


@pytest.mark.parametrize(("soft", "n"), [(256, 64), (1024, 256), (65536, 256), (2, 1), (resource.RLIM_INFINITY, 256)])
def test_maps_leave_files_for_others(monkeypatch: pytest.MonkeyPatch, soft: int, n: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert v._most_maps() == n
