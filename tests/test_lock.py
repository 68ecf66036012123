"""One writer, and the second one is told who it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedsearch.errors import StoreLocked
from embedsearch.store.lock import writer_lock

HOLD = """
import sys
from pathlib import Path
from embedsearch.store.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_writes_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(StoreLocked, match=rf"process {holder.pid} on .* writing since 20.*; wait for it"),
            writer_lock(tmp_path),
        ):
            pass
        holder.kill()
        holder.wait()
    with writer_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-owner.json").read_text()
    assert not (tmp_path / ".lock-owner.json").exists()
