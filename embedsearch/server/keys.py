"""Who may ask: keys as bearer tokens, kept as hashes in a file that is read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import filelock
import msgspec

from embedsearch.errors import OptionError, ServerError, StoreError
from embedsearch.store.atomic import disk_errors, new_path

log = logging.getLogger("embedsearch")

PREFIX = "es_"
"""Of every token that is made here, so that a scanner of leaked secrets can know it."""

ENV = "EMBEDSEARCH_API_KEY"
"""The variable whose value is one more key, with the role read."""

LOCK_SECONDS = 10

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
"""What a header can carry as one word."""

Signature = tuple[int, int, int]


class Role(Enum):
    """What a key may do."""

    READ = "read"
    """Search, and read the counters."""
    ADMIN = "admin"
    """The same, and have the index read again."""


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as the file has it."""

    name: str
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Of the token, in hex. A fast hash is right here: a token has 256 random bits, so that no list of likely ones
    could be tried, which is what slow hashes of passwords are for; and it is computed at every request."""
    created: str
    """UTC, ISO 8601."""


class _File(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]


def read_keys(file: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises ServerError for one that cannot be read or is no file of keys."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File).keys
    except OSError as error:
        raise ServerError(
            f"expected a file of keys in {file}, found: {error.strerror or error}; `embedsearch keys add` makes one"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServerError(
            f"expected a file of keys in {file}, found: {error}; mend it, or remove it and add the keys again"
        ) from error


def add_key(file: Path, name: str, *, role: Role) -> str:
    """Add a key to a file, which is made if it is not there. Gives its token, which is kept nowhere.

    Raises OptionError for a name that is taken or no name, ServerError or StoreError for a file that cannot be read or
    written.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"expected a name of 1 to 64 letters, digits, '.', '_' or '-', found {name!r}")
    with _locked(file):
        keys = read_keys(file) if file.exists() else ()
        if any(key.name == name for key in keys):
            raise OptionError(f"expected a new name, found that there is a key {name} in {file}: remove it first")
        token = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(file, (*keys, Key(name=name, role=role, sha256=_hash(token), created=now)))
    return token


def remove_key(file: Path, name: str) -> None:
    """Take a key out of a file. Raises OptionError where there is none of this name, and as add_key."""
    with _locked(file):
        keys = read_keys(file)
        kept = tuple(key for key in keys if key.name != name)
        if len(kept) == len(keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise OptionError(f"expected the name of a key in {file} ({known}), found {name!r}")
        _write(file, kept)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a file of keys for a change: two that add at once must not lose one."""
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ServerError(f"expected to change {file}, found another process that does; try again") from None
    except OSError as error:
        raise StoreError(f"expected to write {file}, found: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _write(file: Path, keys: Sequence[Key]) -> None:
    """Replace the file. Nobody but its owner may read a new one; owner and group of one that is there are kept."""
    old = file.stat() if file.exists() else None
    mode = 0o600 | (stat.S_IMODE(old.st_mode) & 0o040 if old else 0)
    with new_path(file) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(msgspec.json.format(msgspec.json.encode(_File(tuple(keys)))) + b"\n")
            if old and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, old.st_uid, old.st_gid)  # root adds a key to the file of the service
            os.fchmod(descriptor, mode)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Keys:
    """The keys of a running server. For the threads of one process; each worker has its own."""

    def __init__(self, file: Path | None, env_key: str | None) -> None:
        """`file` may be None: no file. `env_key` is the token of one more key with the role read; None or "": none.

        Raises ServerError for a file that is missing or broken, OptionError for a token that no header can carry.
        """
        env_key = (env_key or "").strip()
        if env_key and not TOKEN.fullmatch(env_key):
            raise OptionError(f"expected {ENV} to be 1 to 512 visible ASCII characters, found others or more")
        self._env = ((_hash(env_key), Role.READ),) if env_key else ()
        self._file = file
        self._signature = _signature(file) if file else None
        self._known = _entries(file) if file else ()
        self._required = bool(self._env or self._known)

    @property
    def required(self) -> bool:
        """Whether there are keys. Once there were some it stays so until the end of the process: to remove the last one
        must not open the server."""
        self._look()
        return self._required

    def role_of(self, token: str) -> Role | None:
        """What the key with this token may do; None: there is no such key."""
        self._look()
        found, given = None, _hash(token)
        for known, role in (*self._known, *self._env):  # all of them: the time taken tells nothing of which it was
            if hmac.compare_digest(known, given) and found is not Role.ADMIN:
                found = role
        return found

    def _look(self) -> None:
        """Read the file again if it is another one than before. A broken or missing one changes nothing."""
        if self._file is None:
            return
        signature = _signature(self._file)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._known = _entries(self._file)
        except ServerError as error:
            log.error("%s. The keys that were there before go on.", error)
        else:
            self._required = self._required or bool(self._known)
            log.info("%d keys read from %s", len(self._known), self._file)


def _entries(file: Path) -> tuple[tuple[str, Role], ...]:
    return tuple((key.sha256, key.role) for key in read_keys(file))


def _signature(file: Path) -> Signature | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
