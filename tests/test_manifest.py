"""The manifest refuses what it should, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedsearch.errors import StoreCorrupt, StoreNotFound, StoreTooNew
from embedsearch.store import manifest as m
from embedsearch.store.generation import CorpusNote, Generation


def generation(folder: Path, **changes: Any) -> Generation:
    (folder / "papers-1.sqlite").write_bytes(b"papers")
    made = Generation(
        number=1,
        created=m.now(),
        updated=m.now(),
        n_papers=10,
        corpus=CorpusNote("x.jsonl", [1, 2], {}, "c", 10, 10, 0, 0, 0),
        model={"name": "fake"},
        recipe={"pooling": "mean"},
        template="{abstract}",
        dtype="float16",
        shard_rows=4,
        ann_kind="flat",
        papers=m.describe(folder, folder / "papers-1.sqlite"),
        keywords=[],
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    m.commit(tmp_path, m.Manifest(serving=generation(tmp_path)))
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(folder: Path) -> None:
    read = m.read_manifest(folder)
    assert read.serving == generation(folder, created=read.serving.created, updated=read.serving.updated)
    assert list(read.serving.first_rows) == [0, 4, 8]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match=r"expected an index at .*nowhere, found none; make one with: embedsearch"):
        m.read_manifest(tmp_path / "nowhere")


def test_any_flipped_byte_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[position] ^= 1
        path.write_bytes(broken)
        with pytest.raises((StoreCorrupt, StoreTooNew)):
            m.read_manifest(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"format": 1}'])
def test_not_a_manifest(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    with pytest.raises(StoreCorrupt, match="expected a manifest in"):
        m.read_manifest(folder)


def test_a_later_format_and_an_unknown_feature_are_refused_by_name(folder: Path) -> None:
    edit(folder, format=99)
    with pytest.raises(StoreTooNew, match=r"expected an index of format 1 .* found format 99: update embedsearch"):
        m.read_manifest(folder)
    edit(folder, format=1, features=["telepathy"])
    with pytest.raises(StoreTooNew, match="found the features telepathy"):
        m.read_manifest(folder)


def test_unknown_keys_are_ignored_but_sealed(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text()) | {"later": {"x": 1}, "checksum": ""}
    blank = msgspec.json.format(msgspec.json.encode(document), indent=1)
    document["checksum"] = m._checksum(blank)
    (folder / "manifest.json").write_text(json.dumps(document))
    assert m.read_manifest(folder).serving.n_papers == 10
    edit(folder, later={"x": 2})
    with pytest.raises(StoreCorrupt, match="its own checksum"):
        m.read_manifest(folder)


def test_files_are_looked_at(folder: Path) -> None:
    (folder / "papers-1.sqlite").write_bytes(b"pape")
    with pytest.raises(StoreCorrupt, match=r"expected 6 bytes in .*papers-1.sqlite, found 4: it was cut or changed"):
        m.read_manifest(folder)
    (folder / "papers-1.sqlite").unlink()
    with pytest.raises(StoreCorrupt, match=r"expected .*papers-1.sqlite, found no such file"):
        m.read_manifest(folder)
    assert m.read_manifest(folder, check_files=False).serving.n_papers == 10
