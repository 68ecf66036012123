"""Shards that others compute: handed in, verified, and committed once."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import corpora
import msgspec
import numpy as np
import pytest
from fake_encoder import FakeEncoder

from embedsearch.build import BuildOptions, build_index
from embedsearch.cli.progress import BuildDisplay
from embedsearch.encoders import Compute, Encoded
from embedsearch.errors import BadVector, CorpusError, OptionError, RecipeMismatch, StoreError, StoreLocked
from embedsearch.share import Share, build_share
from embedsearch.stages.collect import collect, leave
from embedsearch.stages.drops import FolderDrop
from embedsearch.stages.local_engine import Devices
from embedsearch.stages.local_engine import _work as work
from embedsearch.stages.ray_engine import RayCluster
from embedsearch.stages.receipts import hand_in, read_receipt
from embedsearch.store.generation import Shard
from embedsearch.store.lock import writer_lock
from embedsearch.store.manifest import read_manifest
from embedsearch.store.writer import StoreWriter
from embedsearch.verify import verify_store

OPTIONS = BuildOptions(shard_rows=16)
N_SHARDS = 4


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return corpora.write(tmp_path / "papers.jsonl", corpora.records(50))


def share(corpus: Path | None, index: Path, text: str, encoder: FakeEncoder | None = None, **more: Any) -> int:
    arguments = {"encoder": encoder or FakeEncoder(), "options": OPTIONS} | more
    return build_share(corpus, index, share=Share.parse(text), **arguments).n_computed


def finish(index: Path, **more: Any) -> Any:
    return build_index(None, index, encoder=FakeEncoder(), options=OPTIONS, **more)


def shards(index: Path) -> list[Shard]:
    return read_manifest(index).serving.shards


@pytest.fixture
def expected(corpus: Path, tmp_path: Path) -> list[Shard]:
    """Of a build here."""
    build_index(corpus, tmp_path / "whole", encoder=FakeEncoder(), options=OPTIONS)
    return shards(tmp_path / "whole")


def drop(index: Path) -> Path:
    return index / "drop-1"


def check_whole(index: Path, expected: list[Shard]) -> None:
    assert shards(index) == expected
    assert read_manifest(index).serving.complete
    assert list(verify_store(index)) == []
    assert not drop(index).exists()


def test_shares_come_to_the_bytes_of_one_build(corpus: Path, tmp_path: Path, expected: list[Shard]) -> None:
    index = tmp_path / "i"
    assert [share(corpus, index, f"{k}/3") for k in (2, 1, 3)] == [1, 2, 1]
    assert shards(index) == []
    assert share(corpus, index, "1/3") == 0  # handed in already
    finish(index, engine=collect)
    check_whole(index, expected)
    assert share(corpus, index, "1/3") == 0  # a late one finds nothing to do
    with pytest.raises(RecipeMismatch, match="has others"):  # also where nothing would be computed
        share(corpora.write(tmp_path / "more.jsonl", corpora.records(60)), index, "1/3")


def test_collecting_names_what_is_missing_and_keeps_what_is_there(
    corpus: Path, tmp_path: Path, expected: list[Shard]
) -> None:
    index = tmp_path / "i"
    share(corpus, index, "2/2")
    with pytest.raises(StoreError, match=r"expected all 4 shards of .* found 2 missing: 1, 3; run"):
        finish(index, engine=collect)
    assert shards(index) == [expected[1], expected[3]]
    share(None, index, "1/4")
    encoder = FakeEncoder()
    build_index(None, index, encoder=encoder, options=OPTIONS)  # takes what was handed in, computes the rest
    assert encoder.n_texts == 16
    check_whole(index, expected)


def test_the_lock_is_not_needed_once_the_store_was_begun(corpus: Path, tmp_path: Path, expected: list[Shard]) -> None:
    index = tmp_path / "i"
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=leave)
    with writer_lock(index):
        assert share(corpus, index, "1/1") == N_SHARDS
        StoreWriter(index)  # whose clean-up leaves what was handed in
    finish(index, engine=collect)
    check_whole(index, expected)


def test_a_task_waits_for_the_one_that_reads_the_papers(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index, done = tmp_path / "i", []
    with writer_lock(index):
        with pytest.raises(StoreLocked):
            share(corpus, index, "1/1", patience=-1)
        waiting = threading.Thread(target=lambda: done.append(share(corpus, index, "1/1")))
        waiting.start()
        while "Waiting for the papers to be read: process" not in caplog.text:
            time.sleep(0.01)
        assert not (index / "manifest.json").exists()
    # The thread looks again when it next wakes.
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=leave)
    waiting.join()
    assert done == [N_SHARDS]


def damaged(what: str, index: Path) -> None:
    receipt, file = drop(index) / "000002.json", next(drop(index).glob("000002-*.npy"))
    found = read_receipt(FolderDrop(drop(index)), receipt.name)
    data = bytearray(file.read_bytes())
    if what == "a cut file":
        file.write_bytes(data[:-1])
    elif what == "a changed byte":
        data[-1] ^= 1
        file.write_bytes(data)
    elif what == "no file":
        file.unlink()
    elif what == "a cut receipt":
        receipt.write_bytes(receipt.read_bytes()[:-9])
    elif what == "a changed receipt":
        receipt.write_bytes(receipt.read_bytes().replace(b'"n_rows":16', b'"n_rows":15'))
    elif what == "another generation":
        other = msgspec.structs.replace(found, made_for="0" * 64).sealed()
        receipt.write_bytes(msgspec.json.encode(other))
    elif what == "another shard's name":
        other = msgspec.structs.replace(found, shard=msgspec.structs.replace(found.shard, first_row=32)).sealed()
        receipt.write_bytes(msgspec.json.encode(other))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("a cut file", "bytes of the stated hash"),
        ("a changed byte", "bytes of the stated hash"),
        ("no file", "found no such file"),
        ("a cut receipt", "expected a receipt"),
        ("a changed receipt", "its own checksum"),
        ("another generation", "found one of another"),
        ("another shard's name", "expected shard 3 of 16 rows"),
    ],
)
def test_what_is_not_right_is_told_and_computed_again(
    corpus: Path, tmp_path: Path, expected: list[Shard], caplog: pytest.LogCaptureFixture, what: str, told: str
) -> None:
    index = tmp_path / "i"
    share(corpus, index, "1/1")
    damaged(what, index)
    with pytest.raises(StoreError, match="found 1 missing: 2; run"):
        finish(index, engine=collect)
    assert told in caplog.text
    assert share(None, index, "1/1") == 1
    finish(index, engine=collect)
    check_whole(index, expected)


@pytest.mark.parametrize(
    ("rows", "told"), [("long", "rows of length one"), ("nan", "not finite"), ("wide", r"at most .* bytes|\(16, 9\)")]
)
def test_rows_that_are_no_vectors_are_refused(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: str, told: str
) -> None:
    """A worker whose encoder breaks its promise: the hash is right, the numbers are not."""
    index = tmp_path / "i"
    share(corpus, index, "1/1")
    generation = read_manifest(index).serving
    vectors = np.zeros((16, 9 if rows == "wide" else 8), np.float32)
    vectors[:, 0] = {"long": 1.01, "nan": np.nan, "wide": 1.0}[rows]
    encoded = Encoded(vectors=vectors, n_tokens=np.ones(16, np.int64), truncated=np.zeros(16, bool))
    hand_in(FolderDrop(drop(index)), generation, 16, encoded, {})
    with pytest.raises(StoreError, match="found 1 missing: 2; run"):
        finish(index, engine=collect)
    assert re.search(told, caplog.text)


def test_a_shard_that_is_handed_in_twice_is_committed_once(corpus: Path, tmp_path: Path, expected: list[Shard]) -> None:
    index = tmp_path / "i"
    share(corpus, index, "1/1")
    kept = {path.name: path.read_bytes() for path in drop(index).iterdir()}
    with pytest.raises(RuntimeError, match="stopped"):
        finish(index, engine=collect, progress=stop_after(2))
    for name, data in kept.items():
        (drop(index) / name).write_bytes(data)
    finish(index, engine=collect)
    check_whole(index, expected)


def stop_after(n: int) -> Any:
    calls = []

    def progress(step: object) -> None:
        calls.append(step)
        if len(calls) == n:
            raise RuntimeError("stopped")

    return progress


@pytest.mark.parametrize("moment", ["copied", "committed", "file removed"])
@pytest.mark.parametrize("at", [1, 3])
def test_collecting_that_is_killed_goes_on(
    corpus: Path, tmp_path: Path, expected: list[Shard], moment: str, at: int
) -> None:
    index = tmp_path / "i"
    share(corpus, index, "1/1")
    assert killed(index, moment, at) == -signal.SIGKILL
    finish(index, engine=collect)
    check_whole(index, expected)


def killed(index: Path, moment: str, at: int) -> int:
    """The exit code of a process that collects and kills itself at the `at`-th such moment."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_shards import finish
from embedsearch.stages import collect
from embedsearch.stages.drops import FolderDrop
from embedsearch.store.writer import StoreWriter
from pathlib import Path
left = {at}
def then_die(function):
    def call(*arguments, **more):
        global left
        found = function(*arguments, **more)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call
if {moment!r} == "copied":
    collect.write_bytes = then_die(collect.write_bytes)
elif {moment!r} == "committed":
    StoreWriter.update = then_die(StoreWriter.update)
else:
    FolderDrop.remove = then_die(FolderDrop.remove)
finish(Path({str(index)!r}), engine=collect.collect)
"""
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_a_share_says_what_is_wrong(corpus: Path, tmp_path: Path) -> None:
    for text in ("3", "0/4", "5/4", "a/b"):
        with pytest.raises(OptionError, match="expected a share"):
            Share.parse(text)
    share(corpus, tmp_path / "i", "1/4")
    with pytest.raises(RecipeMismatch, match="was begun with, found weights"):
        share(corpus, tmp_path / "i", "2/4", FakeEncoder("other"))
    with pytest.raises(RecipeMismatch, match="expected dtype 'float16'"):
        share(corpus, tmp_path / "i", "2/4", options=BuildOptions(shard_rows=16, dtype="float32"))
    with pytest.raises(RecipeMismatch, match=r"has others; name the same corpus and options, or neither"):
        share(corpora.write(tmp_path / "more.jsonl", corpora.records(60)), tmp_path / "i", "2/4")
    with pytest.raises(RecipeMismatch, match=r"with \{'limit': 40\}, which has others"):
        share(corpus, tmp_path / "i", "2/4", options=BuildOptions(shard_rows=16, limit=40))
    with pytest.raises(CorpusError, match=r"none\.jsonl"):
        share(tmp_path / "none.jsonl", tmp_path / "i", "2/4")
    made = corpora.records(50)
    made[20]["abstract"] = "NAN"
    bad = corpora.write(tmp_path / "bad.jsonl", made)
    with pytest.raises(BadVector, match=rf"paper {made[20]['id']}: expected finite"):
        share(bad, tmp_path / "bad", "1/1")


class Stuck(FakeEncoder):
    """Its second shard takes a minute, unless `progress` ends it."""

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Any:
        until = time.monotonic() + (60 if self.n_calls else 0)
        while time.monotonic() < until:
            time.sleep(0.001)
            if progress is not None:
                progress(0, 0)
        return super().encode_prepared(prepared, progress=progress)


def test_an_interrupted_share_keeps_what_is_whole_and_waits_for_no_other_shard(corpus: Path, tmp_path: Path) -> None:
    def interrupt(step: object) -> None:
        raise KeyboardInterrupt

    index, encoder = tmp_path / "i", Stuck()
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=leave)
    with pytest.raises(KeyboardInterrupt):
        share(None, index, "1/1", encoder, progress=interrupt)
    assert encoder.n_calls == 1
    assert share(None, index, "1/1") == N_SHARDS - 1


class Unsendable(Exception):
    """As of a library that keeps what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("no answer")
        self.lock = threading.Lock()


@contextmanager
def working(corpus: Path, index: Path, opener: Any) -> Iterator[Connection]:
    """The connection to what a worker's process does, in a thread, which ends soon after it is closed."""
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=leave)
    connection, theirs = multiprocessing.Pipe()

    def until_exit() -> None:
        with suppress(SystemExit):
            work(theirs, index, 1, opener)

    thread = threading.Thread(target=until_exit, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedsearch.stages.local_engine.os._exit", sys.exit)
        thread.start()
        try:
            with connection:
                yield connection
        finally:
            thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("where", ["opening", "a shard"])
def test_an_error_that_cannot_be_sent_is_told(corpus: Path, tmp_path: Path, where: str) -> None:
    def opener() -> FakeEncoder:
        if where == "opening":
            raise Unsendable
        return FakeEncoder(fail_at=0, failure=Unsendable())

    with working(corpus, tmp_path / "i", opener) as connection:
        connection.send(0)
        assert connection.poll(20)
        found = connection.recv()
    assert isinstance(found, StoreError)
    assert str(found) == "expected a shard of a worker, found: Unsendable('no answer')"


def test_a_worker_ends_with_its_starter_that_has_not_read_all(corpus: Path, tmp_path: Path) -> None:
    with working(corpus, tmp_path / "i", FakeEncoder) as connection:
        connection.send(0)
        assert connection.poll(20)


class Deadly(FakeEncoder):
    """Kills its process at the first shard, once; or at each, where `flag` is None."""

    def __init__(self, flag: Path | None) -> None:
        super().__init__()
        self._flag = flag

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Any:
        if self._flag is None or not self._flag.exists():
            if self._flag is not None:
                self._flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_prepared(prepared, progress=progress)


def open_deadly(flag: Path | None, compute: Compute) -> FakeEncoder:
    return Deadly(flag)


def open_fake(compute: Compute) -> FakeEncoder:
    return FakeEncoder()


def test_two_processes_come_to_the_same_bytes(corpus: Path, tmp_path: Path, expected: list[Shard]) -> None:
    index, steps = tmp_path / "i", []
    engine = Devices(devices=["cpu", "cpu"], open_on=open_fake)
    build_index(
        corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=engine,
        progress=lambda step: steps.append((step.stage.value, step.done)),
    )  # fmt: skip
    check_whole(index, expected)
    assert [done for stage, done in steps if stage == "embedding"][-1] == 50


def test_a_process_that_dies_is_replaced(corpus: Path, tmp_path: Path, expected: list[Shard]) -> None:
    index = tmp_path / "i"
    engine = Devices(devices=["cpu"], open_on=partial(open_deadly, tmp_path / "flag"))
    build_index(corpus, index, encoder=FakeEncoder(), options=OPTIONS, engine=engine)
    assert (tmp_path / "flag").exists()
    check_whole(index, expected)


def test_processes_that_die_at_each_shard_end_in_an_error(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedsearch.stages.tasks.MOST_TRIES", 2)
    engine = Devices(devices=["cpu"], open_on=partial(open_deadly, None))
    with pytest.raises(StoreError, match="shard 1, found that 2 died at it, the last one with exit code -9"):
        build_index(corpus, tmp_path / "i", encoder=FakeEncoder(), options=OPTIONS, engine=engine)


def test_an_error_of_a_process_is_the_error_of_the_build(tmp_path: Path) -> None:
    made = corpora.records(50)
    made[20]["abstract"] = "NAN"
    corpus = corpora.write(tmp_path / "bad.jsonl", made)
    engine = Devices(devices=["cpu"], open_on=open_fake)
    with pytest.raises(BadVector, match=rf"paper {made[20]['id']}: expected finite"):
        build_index(corpus, tmp_path / "i", encoder=FakeEncoder(), options=OPTIONS, engine=engine)


def test_what_is_told_is_so(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of papers to embed, whoever embeds them."""
    index = tmp_path / "i"
    share(corpus, index, "2/4", progress=BuildDisplay(quiet=False))
    assert "To embed: 16 papers, about" in capsys.readouterr().err
    with pytest.raises(StoreError, match="3 missing"):
        finish(index, engine=collect, progress=BuildDisplay(quiet=False))
    assert "To embed" not in capsys.readouterr().err
    engine = Devices(devices=["cpu"], open_on=open_fake)
    finish(index, engine=engine, progress=BuildDisplay(quiet=False))
    assert "To embed: 34 papers, about" in capsys.readouterr().err


def test_a_disk_that_is_too_small_is_told_of_first(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    for engine in (Devices(devices=["cpu"], open_on=open_fake), RayCluster(open_on=open_fake)):
        with pytest.raises(StoreError, match="MB of free disk for vectors in"):
            build_index(corpus, tmp_path / "i", encoder=FakeEncoder(), options=OPTIONS, engine=engine)
    with pytest.raises(StoreError, match="MB of free disk for vectors in"):
        share(corpus, tmp_path / "i", "1/4")


class Slow(FakeEncoder):
    """Says where it is, and takes its time."""

    def encode_prepared(self, prepared: Any, *, progress: Any = None) -> Any:
        found = super().encode_prepared(prepared, progress=progress)
        Path(os.environ["PIDS"], str(os.getpid())).touch()
        time.sleep(0.2)
        return found


def open_slow(compute: Compute) -> FakeEncoder:
    return Slow()


def test_an_interrupted_build_on_devices_leaves_no_process_and_goes_on(
    corpus: Path, tmp_path: Path, expected: list[Shard]
) -> None:
    """Control-C goes to all processes of a terminal: the one that builds answers it."""
    index, pids = tmp_path / "i", tmp_path / "pids"
    pids.mkdir()
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_shards import Devices, OPTIONS, FakeEncoder, Path, build_index, open_slow
from embedsearch.cli import main
engine = Devices(devices=["cpu", "cpu"], open_on=open_slow)
main.cli.main = lambda **options: build_index(
    Path({str(corpus)!r}), Path({str(index)!r}), encoder=FakeEncoder(), options=OPTIONS, engine=engine
)
main.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        env=os.environ | {"PIDS": str(pids)},
        start_new_session=True,
    )
    while not any(pids.iterdir()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, told.decode()) == (130, "\nInterrupted.\n")
    for pid in pids.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.name), 0)
    finish(index)
    check_whole(index, expected)


def test_the_generation_in_the_making_alone_keeps_its_drop(corpus: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    share(corpus, index, "1/4")
    for name in ("drop-2", "drop-7"):
        (index / name).mkdir()
    with writer_lock(index):
        StoreWriter(index)
    assert sorted(path.name for path in index.glob("drop-*")) == ["drop-1", "drop-7"]  # 7 is no number of ours
