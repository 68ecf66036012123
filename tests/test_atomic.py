"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from embedsearch.errors import StoreError
from embedsearch.store import atomic


def test_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_bytes(path, b"one")
    atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_bytes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a"
    atomic.write_bytes(path, b"one")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(StoreError, match=r"expected to write .*a, found: No space left on device"):
        atomic.write_bytes(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_of_files(tmp_path: Path) -> None:
    with atomic.new_path(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "x").write_text("x")
    assert (tmp_path / "folder" / "x").read_text() == "x"
    assert os.listdir(tmp_path) == ["folder"]


def test_an_interrupt_removes_what_was_begun(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic.new_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert atomic.file_hash(tmp_path / "a").startswith("ba7816bf8f01cfea")
