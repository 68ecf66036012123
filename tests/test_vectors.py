"""Shards: what is read is what was written, by row and by block."""

from __future__ import annotations

import errno
import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embedsearch import transform
from embedsearch.errors import StoreCorrupt, StoreError
from embedsearch.scores import TOLERANCE, Float32, unit_rows
from embedsearch.store import mapping
from embedsearch.store import vectors as v
from embedsearch.store.generation import Shard


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


def test_files_are_mapped_when_they_are_needed_and_none_stays_open(tmp_path: Path) -> None:
    rows = unit(400)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows), dim=16, transform=None)
    held = len(os.listdir("/dev/fd"))
    np.testing.assert_allclose(stored.rows(np.array([5, 399])), rows[[5, 399]], atol=1e-6)
    np.testing.assert_allclose(stored.rows(np.arange(400)[::-1]), rows[::-1], atol=1e-6)
    assert len(os.listdir("/dev/fd")) == held
    for path in (tmp_path / "vectors").iterdir():
        path.unlink()
    np.testing.assert_allclose(stored.rows(np.arange(400)), rows, atol=1e-6)


def test_a_store_of_more_files_than_may_be_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In four threads, of which each reads in what another may have given back."""
    monkeypatch.setattr(v, "MOST_MAPPED", 3)
    rows = unit(80)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows), dim=16, transform=None)
    stored.open_all()

    def read(seed: int) -> None:
        for _ in range(50):
            picked = np.random.default_rng(seed).integers(0, 80, 5)
            np.testing.assert_allclose(stored.rows(picked), rows[picked], atol=1e-6)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    np.testing.assert_allclose(stored.rows(np.arange(80)[::-1]), rows[::-1], atol=1e-6)
    np.testing.assert_allclose(np.concatenate([block for _, block in stored.blocks()]), rows, atol=1e-6)
    if sys.platform == "linux":
        assert 1 <= Path("/proc/self/maps").read_text().count(str(tmp_path)) <= 3


@pytest.mark.parametrize("what", ["addresses", "a map"])
def test_what_the_system_refuses_to_map_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def refuse(address: int | None, *arguments: int) -> int:
        if (address is None) == (what == "addresses"):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return allowed(address, *arguments)

    allowed = mapping._map
    monkeypatch.setattr(mapping, "_map", refuse)
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, unit(10)), dim=16, transform=None)
    with pytest.raises(
        StoreError, match=r"expected to map .*vectors.*, found: Cannot allocate memory; allow a process"
    ):
        stored.rows(np.arange(5))


def test_what_was_read_outlives_the_vectors(tmp_path: Path) -> None:
    rows = unit(10)
    places = v.Places(2, 40)
    (tmp_path / "a").write_bytes(b"0123456789" * 4)
    with (tmp_path / "a").open("rb") as file:
        places.put_file(1, file.fileno(), 40)
    places.put_bytes(0, b"abc", offset=2)
    held, stride = places.all_bytes(), places.stride
    del places
    gc.collect()
    assert held[stride : stride + 12].tobytes() == b"012345678901"
    assert held[:6].tobytes() == b"\0\0abc\0"
    assert not held.flags.writeable
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, rows), dim=16, transform=None)
    (_, block), *_ = stored.blocks()
    del stored
    gc.collect()
    np.testing.assert_allclose(block, rows[:4], atol=1e-6)


def test_rows_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    stored = v.ShardedVectors(tmp_path, shards(tmp_path, unit(10), skip=(2,)), dim=16, transform=None)
    for row in (-1, 4, 10, 12, 4000):
        with pytest.raises(IndexError, match="expected rows that have a vector, of 6, found others"):
            stored.rows(np.array([0, row]))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_shard_that_another_program_wrote_otherwise(tmp_path: Path, which: int) -> None:
    rows = unit(10)
    made = shards(tmp_path, rows)
    path = tmp_path / made[which].file.name
    part = np.load(path)
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(part), version=(2, 0), allow_pickle=False)
    stored = v.ShardedVectors(tmp_path, made, dim=16, transform=None)
    assert (stored.rows(np.arange(10)) == unit_rows(rows)).all()
    np.save(path, part.astype(np.float16))
    if which:
        with pytest.raises(StoreCorrupt, match=r"expected float32 in .*, as in the first, found float16"):
            v.ShardedVectors(tmp_path, made, dim=16, transform=None).rows(np.arange(10))


def test_a_file_that_was_cut_short_is_found_when_it_is_mapped(tmp_path: Path) -> None:
    made = shards(tmp_path, unit(10))
    path = tmp_path / made[1].file.name
    path.write_bytes(path.read_bytes()[:-1])
    stored = v.ShardedVectors(tmp_path, made, dim=16, transform=None)
    stored.rows(np.arange(4))
    with pytest.raises(StoreCorrupt, match=f"expected vectors in .*{path.name}"):
        stored.rows(np.arange(5))


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
