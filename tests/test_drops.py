"""Shards that are handed in elsewhere than in the store's folder, perhaps by somebody who means harm."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import corpora
import fsspec
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.cli.main import cli
from embedsearch.errors import MissingExtra, OptionError, StoreCorrupt, StoreError
from embedsearch.share import Share, build_share
from embedsearch.stages.collect import Collector, collect
from embedsearch.stages.drops import Drop, FolderDrop, absolute, open_drop
from embedsearch.stages.receipts import Receipt, drop_of, read_receipt
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import read_manifest
from embedsearch.store.writer import StoreWriter
from embedsearch.verify import verify_store

OPTIONS = BuildOptions(shard_rows=16)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return corpora.write(tmp_path / "papers.jsonl", corpora.records(50))


@pytest.fixture(params=["memory://", "file://", ""])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to hand in: a URL for fsspec, one of a folder, and a folder."""
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket/drops" if request.param == "memory://" else f"{request.param}{tmp_path}/drops"


def share(corpus: Path | None, index: Path, text: str, base: str) -> int:
    arguments = {"encoder": FakeEncoder(), "options": OPTIONS, "drop": base}
    return build_share(corpus, index, share=Share.parse(text), **arguments).n_computed


def finish(index: Path, base: str) -> None:
    build_index(None, index, encoder=FakeEncoder(), options=OPTIONS, engine=partial(collect, drop=base))


def files(base: str, tmp_path: Path) -> set[str]:
    """All files, those of the drop and those of the test's folder."""
    found = {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    return found | set(fsspec.filesystem("memory").find("/"))


def test_shards_in_a_drop_come_to_the_bytes_of_one_build(corpus: Path, tmp_path: Path, base: str) -> None:
    index = tmp_path / "i"
    build_index(corpus, tmp_path / "whole", encoder=FakeEncoder(), options=OPTIONS)
    assert [share(corpus, index, f"{k}/3", base) for k in (2, 1, 1)] == [1, 2, 0]
    assert not (index / "drop-1").exists()
    assert sum("/drops/" in name for name in files(base, tmp_path)) == 6
    with pytest.raises(StoreError, match="found 1 missing: 3; run"):
        finish(index, base)
    assert share(None, index, "3/3", base) == 1
    finish(index, base)
    assert read_manifest(index).serving.shards == read_manifest(tmp_path / "whole").serving.shards
    assert list(verify_store(index)) == []
    assert not any("/drops/" in name for name in files(base, tmp_path))


def of_shard(receipt: Receipt, **more: Any) -> Receipt:
    """A receipt of something else, sealed as its worker would have."""
    return msgspec.structs.replace(receipt, shard=msgspec.structs.replace(receipt.shard, **more)).sealed()


def of_file(receipt: Receipt, **more: Any) -> Receipt:
    return of_shard(receipt, file=msgspec.structs.replace(receipt.shard.file, **more))


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_name_that_leads_out_of_the_drop_is_refused(
    corpus: Path, tmp_path: Path, base: str, is_committed: bool
) -> None:
    """Also where its shard is there already, and the file is only to be removed."""
    index = tmp_path / "i"
    share(corpus, index, "1/1", base)
    with writer_lock(index):
        writer = StoreWriter(index)
        generation = read_manifest(index).serving
        drop = drop_of(index, generation, base)
        collector = Collector(writer, generation, FakeEncoder(), lambda step: None, drop=base)
        receipt = read_receipt(drop, "000002.json")
        if is_committed:
            collector.take(receipt)
        before = files(base, tmp_path)
        for name in ("vectors/..", "..", "../manifest.json", "/etc/passwd", "vectors/000002-../../../papers.npy"):
            with pytest.raises(StoreCorrupt, match="expected"):
                collector.take(of_file(receipt, name=name, sha256="../../../papers" + "0" * 49))
        assert files(base, tmp_path) == before


def claiming(shape: str) -> bytes:
    """A file of vectors whose header says more than is there."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones((16, 8), np.float16))
    return buffer.getvalue().replace(b"(16, 8), }" + b" " * len(shape), shape.encode() + b", }" + b" " * 7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (partial(of_shard, n_truncated=17), "expected counts of 16 texts"),
        (partial(of_shard, n_tokens=-1), "expected counts of 16 texts"),
        (partial(of_shard, first_row=10**30), "expected the first row of a shard"),
        (partial(of_shard, first_row=-16), "expected the first row of a shard"),
        (partial(of_shard, made_with={"device": "x" * 70_000}), "at most 65,536 bytes"),
    ],
)
def test_a_receipt_that_cannot_be_is_told_of_and_left(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Receipt], Receipt], told: str
) -> None:
    index, base = tmp_path / "i", str(tmp_path / "drops")
    share(corpus, index, "1/1", base)
    drop = drop_of(index, read_manifest(index).serving, base)
    drop.put("000002.json", msgspec.json.encode(change(read_receipt(drop, "000002.json"))))
    with pytest.raises(StoreError, match="found 1 missing: 2"):
        finish(index, base)
    assert told in caplog.text


@pytest.mark.parametrize("data", [b"", b"x" * 5000, claiming("(99999999999, 8)")])
def test_a_file_that_is_no_shard_is_told_of(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    """Under a name and with a hash that are right."""
    index, base = tmp_path / "i", str(tmp_path / "drops")
    share(corpus, index, "1/1", base)
    drop = drop_of(index, read_manifest(index).serving, base)
    digest = hashlib.sha256(data).hexdigest()
    name = f"000002-{digest[:16]}.npy"
    forged = of_file(read_receipt(drop, "000002.json"), name=f"vectors/{name}", sha256=digest, size=len(data))
    drop.put(name, data)
    drop.put("000002.json", msgspec.json.encode(forged))
    with pytest.raises(StoreError, match="found 1 missing: 2"):
        finish(index, base)
    assert "000002.json: not taken: expected" in caplog.text


def test_a_drop_has_no_other_names(base: str, tmp_path: Path) -> None:
    drop: Drop = open_drop(base, "key")
    drop.begin()
    assert drop.names() == []
    for name in ("../000001.json", "a.json", "000001.json/", "", ".."):
        for act in (partial(drop.put, data=b""), partial(drop.get, most=9), drop.remove):
            with pytest.raises(StoreCorrupt, match="expected the name of a shard or a receipt"):
                act(name)
    drop.put("000001.json", b"12345")
    assert drop.names() == ["000001.json"]
    assert drop.get("000001.json", most=5) == b"12345"
    with pytest.raises(StoreCorrupt, match="at most 4 bytes"):
        drop.get("000001.json", most=4)
    drop.remove("000001.json")
    drop.remove("000001.json")
    with pytest.raises(FileNotFoundError):
        drop.get("000001.json", most=5)
    drop.clear()


def test_a_place_that_cannot_be_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="expected a folder or a URL such as s3://bucket/folder for --drop"):
        open_drop("nonsense://x", "key")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="expected to write"):
        FolderDrop(tmp_path / "file").begin()
    inside = FolderDrop(tmp_path / "file" / "key")
    with pytest.raises(StoreError, match=r"expected to read .*key, found: Not a directory"):
        inside.names()
    for act in (partial(inside.remove, "000001.json"), inside.clear):
        with pytest.raises(StoreError, match=r"expected to write .*key.*, found: Not a directory"):
            act()
    failing = open_drop("memory://me:secret@x", "key")
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.ls", fail)
    with pytest.raises(StoreError, match="expected to use memory://x/key, found: RuntimeError no route"):
        failing.names()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r"pip install 'embedsearch\[drop\]'"):
        open_drop("memory://x", "key")
    assert absolute("memory://x") == "memory://x"
    assert absolute("x") == str(Path.cwd() / "x")


def fail(*arguments: object, **more: object) -> None:
    raise RuntimeError("no route\nto there")


def test_a_drop_that_nobody_would_use_is_a_usage_error(tmp_path: Path) -> None:
    for more in ([], ["--devices", "cpu"]):
        done = CliRunner().invoke(cli, ["build-index", "--index", str(tmp_path / "i"), "--drop", "x", *more])
        assert done.exit_code == 2
        assert "Expected --shards, --collect or --engine ray beside --drop." in done.output
