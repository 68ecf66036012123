"""Files that are either whole or not there.

A file is written beside its place under a temporary name, synced, renamed, and its folder synced: after a crash at any
moment the name holds the old bytes or the new ones. What cannot be promised: a disk that acknowledges a sync which it
did not do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedsearch.errors import StoreError

TEMPORARY_PREFIX = ".new-"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals (no space, no permission, read-only) into a StoreError that says which path."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"expected to write {path}, found: {error.strerror or error}") from error


def sync(path: Path) -> None:
    """Force a file's, or a folder's entries', bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS: fsync alone leaves the bytes in the drive's cache
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or a folder of files to; rename it to `path` at the end.

    Whatever `path` named before is replaced, if it was a file. On an error, the temporary one is removed.
    """
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    remove(temporary)
    try:
        with disk_errors(path):
            yield temporary
            for inner in sorted(temporary.iterdir()) if temporary.is_dir() else ():
                sync(inner)
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    except BaseException:
        remove(temporary)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the contents of `path` by `data`."""
    with new_path(path) as temporary:
        temporary.write_bytes(data)


def check_writable(path: Path) -> None:
    """Raise StoreError where no file can be made beside `path`; its folder is made if it is not there.

    A file is made and taken away again: permissions alone do not tell (root may do all, and /proc takes nothing).
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass


def remove(path: Path) -> None:
    """Remove a file, or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode: whether a file or a folder is still the one that it was. None where nothing lies there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
