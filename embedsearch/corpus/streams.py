"""Lines of a file, plain, gzip or zstd, that know how far the file has been read and say what is wrong with it."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from embedsearch.errors import CorpusError

LONGEST_LINE: Final = 64 * 2**20
"""Bytes. A record of more is no abstract but a file without line breaks, and would fill the memory."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 2**17


class Stream:
    """The bytes of one pass over a file, and how many of the file's own (compressed) bytes have been read."""

    def __init__(self, raw: BinaryIO, *, name: str, size: int | None) -> None:
        self.name = name
        self._raw = raw
        self._size = size
        self._share = 0.0  # kept, since a closed file cannot be asked any more

    def fraction(self) -> float | None:
        """Share of the file read so far, None for stdin."""
        if self._size is None:
            return None
        if not self._raw.closed and self._size:
            self._share = min(1.0, self._raw.tell() / self._size)
        return self._share

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with its number from 1, without a byte order mark. Raises CorpusError for what cannot be read."""
        number = 0
        try:
            opened = _decompressed(self._raw) if self._size is not None else self._raw
            while line := opened.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise CorpusError(
                        f"{self.name}, line {number}: expected one record a line, "
                        f"found a line of more than {LONGEST_LINE >> 20} MB"
                    )
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            raise CorpusError(
                f"{self.name}, after line {number}: expected more compressed data, found {_reason(error)}; "
                "fetch or compress the file again"
            ) from None
        except OSError as error:
            raise CorpusError(f"{self.name}, after line {number}: {error.strerror or error}") from None

    def close(self) -> None:
        """Let go of the file; stdin is left open, as it is not ours."""
        if self._size is not None:
            self.fraction()
            self._raw.close()


def _reason(error: Exception) -> str:
    return "the end of the file" if isinstance(error, EOFError) else f"damage ({error})"


def open_stream(path: Path) -> Stream:
    """The stream of a file. Raises CorpusError if it is missing, empty, a folder or not to be read."""
    try:
        raw = path.open("rb")
        size = path.stat().st_size
    except FileNotFoundError:
        raise CorpusError(f"{path}: expected a file of papers, found no such file") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: expected a file of papers, found a directory") from None
    except PermissionError:
        raise CorpusError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}") from None
    if not size and path.is_file():  # a pipe has no size, either
        raw.close()
        raise CorpusError(f"{path.name}: expected papers, found an empty file")
    return Stream(raw, name=path.name, size=size)


def beginning(path: Path) -> tuple[bytes, bytes]:
    """The first four bytes of a file as it is, and its first line as it holds it, at most 128 kB of that."""
    stream = open_stream(path)
    with closing(stream):
        magic = stream._raw.read(4)
        stream._raw.seek(0)
        return magic, next(stream.lines(), (0, b""))[1][:_CHUNK]


def _decompressed(raw: BinaryIO) -> BinaryIO:
    start = raw.read(4)
    raw.seek(0)
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if start == _ZSTD:
        return io.BufferedReader(_Zstd(raw), _CHUNK)
    return raw


class _Zstd(io.RawIOBase):
    """zstd that notices when the file ends too early, which zstandard's own reader does not."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame = self._new_frame()
        self._is_between = True  # of two frames: the only place where a file may end
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            chunk = self._raw.read(_CHUNK)
            if not chunk:
                if not self._is_between:
                    raise EOFError
                return 0
            self._ready = memoryview(self._inflate(chunk))
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _inflate(self, chunk: bytes) -> bytes:
        done = []
        while chunk:
            done.append(self._frame.decompress(chunk))
            chunk = self._frame.unused_data if self._frame.eof else b""
            self._is_between = self._frame.eof
            if self._frame.eof:
                self._frame = self._new_frame()
        return b"".join(done)

    @staticmethod
    def _new_frame() -> zstandard.ZstdDecompressionObj:
        # Windows of up to 2 GB: what `zstd --long=31` writes.
        return zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
