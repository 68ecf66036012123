"""Where workers hand in shards: a folder, or storage that fsspec reaches, such as `s3://`.

What lies there may come from anybody who can write there. So names are checked here, whoever gives them: nothing
outside of the drop is ever read, written or removed.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from embedsearch.errors import EmbedsearchError, MissingExtra, OptionError, StoreCorrupt, StoreError
from embedsearch.store.atomic import TEMPORARY_PREFIX, disk_errors, remove, sync

NAME = re.compile(r"[0-9]{6,12}(?:\.json|-[0-9a-f]{16}\.npy)")
"""A receipt's name, or a shard's."""


class Drop(Protocol):
    """A flat set of named files. Names that no worker gives raise StoreCorrupt, storage that fails StoreError."""

    def begin(self) -> None:
        """Make it ready to be written to."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, in place of one of that name: others see the old one or the whole new one."""

    def get(self, name: str, *, most: int) -> bytes:
        """The bytes of a file. Raises FileNotFoundError, and StoreCorrupt where it has more than `most` bytes."""

    def names(self) -> list[str]:
        """The names of the files, sorted; others than ours are left out."""

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    def clear(self) -> None:
        """Remove the drop with all that it holds."""


class FolderDrop:
    """A Drop in a folder of this machine or of a shared disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def begin(self) -> None:
        """Make the folder."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, data: bytes) -> None:
        """Another worker may be writing the same file at the same time: each under a name of its own first."""
        path = self._folder / _checked(name)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        with disk_errors(path):
            try:
                temporary.write_bytes(data)
                sync(temporary)
                os.replace(temporary, path)
                sync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def get(self, name: str, *, most: int) -> bytes:
        """Raises FileNotFoundError, StoreCorrupt."""
        path = self._folder / _checked(name)
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"expected to read {path}, found: {error.strerror or error}") from error
        if len(data) > most:
            raise StoreCorrupt(f"expected at most {most:,} bytes in {path}, found more")
        return data

    def names(self) -> list[str]:
        """Sorted; none where there is no folder."""
        try:
            return sorted(name for name in os.listdir(self._folder) if NAME.fullmatch(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"expected to read {self._folder}, found: {error.strerror or error}") from error

    def remove(self, name: str) -> None:
        """If it is there."""
        path = self._folder / _checked(name)
        with disk_errors(path):
            remove(path)

    def clear(self) -> None:
        """Remove the folder."""
        with disk_errors(self._folder):
            remove(self._folder)


class StorageDrop:
    """A Drop under a URL of one of fsspec's file systems. Objects are written whole or not at all by object stores;
    of others a file that is seen half written has another hash than its receipt says, and is computed again."""

    def __init__(self, url: str) -> None:
        self._shown = re.sub(r"//[^/@]*@", "//", url)  # a password is no part of a message
        with self._errors():
            self._files, self._root = _file_system(url)

    def __str__(self) -> str:
        return self._shown

    def begin(self) -> None:
        """Nothing: the first file makes what it needs."""

    def put(self, name: str, data: bytes) -> None:
        """Raises StoreError."""
        path = self._path(name)
        with self._errors():
            try:
                self._files.pipe_file(path, data)
            except FileNotFoundError:  # storage with folders
                self._files.makedirs(self._root, exist_ok=True)
                self._files.pipe_file(path, data)

    def get(self, name: str, *, most: int) -> bytes:
        """Raises FileNotFoundError, StoreCorrupt, StoreError."""
        path = self._path(name)
        with self._errors():
            self._files.invalidate_cache()
            if (size := self._files.info(path)["size"]) > most:
                raise StoreCorrupt(f"expected at most {most:,} bytes in {self}/{name}, found {size:,}")
            data: bytes = self._files.cat_file(path)
            return data

    def names(self) -> list[str]:
        """Sorted; none where there is nothing."""
        with self._errors(), suppress(FileNotFoundError):
            self._files.invalidate_cache()
            found = (path.rstrip("/").rpartition("/")[2] for path in self._files.ls(self._root, detail=False))
            return sorted(name for name in found if NAME.fullmatch(name))
        return []

    def remove(self, name: str) -> None:
        """If it is there."""
        path = self._path(name)
        with self._errors(), suppress(FileNotFoundError):
            self._files.rm_file(path)

    def clear(self) -> None:
        """Remove all that lies under the URL."""
        with self._errors(), suppress(FileNotFoundError):
            self._files.rm(self._root, recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{_checked(name)}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, EmbedsearchError):
            raise
        except Exception as error:  # each storage has errors of its own
            reason = next(iter(str(error).strip().splitlines()), "")
            raise StoreError(f"expected to use {self}, found: {type(error).__name__} {reason}".rstrip()) from error


def open_drop(base: str, key: str) -> Drop:
    """The drop `key` under `base`: a folder's path, `file://`, or a URL for fsspec.

    Raises OptionError for another, MissingExtra, and StoreError for storage that refuses.
    """
    path = base.removeprefix("file://")
    if path and "://" not in path:
        return FolderDrop(Path(path) / key)
    return StorageDrop(f"{base.rstrip('/')}/{key}")


def absolute(base: str | None) -> str | None:
    """The same place for a process that has another current folder."""
    return base if base is None or "://" in base else str(Path(base).resolve())


def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("--drop with a URL needs fsspec: pip install 'embedsearch[drop]'") from None
    protocol = url.partition("://")[0]
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:  # fsspec's own line says which package speaks this protocol
        raise MissingExtra(f"--drop {protocol}://... needs another package: {error}") from None
    except ValueError as error:
        raise OptionError(f"expected a folder or a URL such as s3://bucket/folder for --drop, found: {error}") from None
    return files, str(root).rstrip("/")


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise StoreCorrupt(f"expected the name of a shard or a receipt, found {name!r}")
    return name
