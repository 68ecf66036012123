"""`verify` finds one flipped byte in any file, and what hashes cannot show."""

from __future__ import annotations

from pathlib import Path

import corpora
import msgspec
import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.store.manifest import commit, describe, read_manifest
from embedsearch.verify import verify_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    corpus = corpora.write(folder / "p", corpora.records(50))
    options = BuildOptions(shard_rows=16, transform="center")
    build_index(corpus, folder / "i", encoder=FakeEncoder(), options=options)
    return folder / "i"


def files(index: Path) -> list[Path]:
    return sorted(path for path in index.rglob("*") if path.is_file() and path.name != ".lock")


def test_whole(whole: Path) -> None:
    assert list(verify_store(whole)) == []
    assert len(files(whole)) > 10


def test_one_flipped_byte_in_each_file_is_found_and_named(whole: Path) -> None:
    for path in files(whole):
        data = path.read_bytes()
        if not data:
            continue
        broken = bytearray(data)
        broken[len(data) // 2] ^= 1
        path.write_bytes(broken)
        problems = list(verify_store(whole))
        path.write_bytes(data)
        assert len(problems) == 1, path
        assert path.name in problems[0]


def test_a_missing_and_a_cut_file(whole: Path) -> None:
    path = files(whole)[-1]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert f"expected {len(data):,} bytes, found {len(data) - 1:,}" in next(verify_store(whole))
    path.unlink()
    assert "expected a file, found: No such file" in next(verify_store(whole))
    path.write_bytes(data)


@pytest.mark.parametrize(("value", "found"), [(np.nan, "nan"), (3.0, "3"), (0.0, "0")])
def test_vectors_that_are_not_unit_though_their_hash_is_right(tmp_path: Path, value: float, found: str) -> None:
    corpus = corpora.write(tmp_path / "p", corpora.records(5))
    index = tmp_path / "i"
    build_index(corpus, index, encoder=FakeEncoder())
    manifest = read_manifest(index)
    shard = manifest.serving.shards[0]
    path = index / shard.file.name
    rows = np.load(path)
    rows[3] = 0
    rows[3, 0] = value
    np.save(path, rows)
    mended = msgspec.structs.replace(shard, file=describe(index, path))
    serving = msgspec.structs.replace(manifest.serving, shards=[mended])
    commit(index, msgspec.structs.replace(manifest, serving=serving))
    assert list(verify_store(index)) == [f"{shard.file.name}: expected length 1 in row 3, found {found}"]


def test_rows_that_do_not_fit_together(tmp_path: Path) -> None:
    corpus = corpora.write(tmp_path / "p", corpora.records(20))
    index = tmp_path / "i"
    build_index(corpus, index, encoder=FakeEncoder(), options=BuildOptions(shard_rows=8))
    manifest = read_manifest(index)
    serving = msgspec.structs.replace(manifest.serving, shards=manifest.serving.shards[:-1], n_papers=19)
    commit(index, msgspec.structs.replace(manifest, serving=serving))
    problems = "\n".join(verify_store(index))
    assert "expected 19 papers, found 20" in problems
    assert "vectors: expected 19 rows, found 16" in problems
    assert "ann-1-flat.faiss: expected 19 vectors, found 20" in problems
