"""One writer at a time. Readers need no lock."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock

from embedsearch.errors import StoreError, StoreLocked
from embedsearch.store.atomic import disk_errors

LOCK_NAME = ".lock"
OWNER_NAME = ".lock-owner.json"


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the store at `folder` for writing. The system releases the lock when the process ends, however it ends.

    Raises StoreLocked, which names the holder's host, process and start, if another process has it.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StoreLocked(f"expected to be the only writer of {folder}, found {_owner(folder)}; wait for it") from None
    except OSError as error:
        raise StoreError(f"expected to write {folder}, found: {error.strerror or error}") from error
    # Beside the lock, not in it: opening a lock file truncates it.
    owner = folder / OWNER_NAME
    try:
        with disk_errors(owner):
            owner.write_text(
                json.dumps(
                    {
                        "host": socket.gethostname(),
                        "process": os.getpid(),
                        "since": datetime.now(UTC).isoformat(timespec="seconds"),
                    }
                )
            )
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER_NAME).read_text())
        return f"process {owner['process']} on {owner['host']} writing since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process writing"  # it has the lock and has not written its name yet
