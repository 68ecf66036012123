"""Answers that a client does not read: a transport that is closed waits for its last byte to be read, for ever."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress

PROGRESS = 16 << 10
"""Bytes that a client must read in each period."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket: to close it is to reset the connection, and what was to be sent is forgotten."""


class Unread:
    """Watches what waits to be read on one connection, and ends that when it stays."""

    def __init__(self, transport: asyncio.Transport, *, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._n_before = 0

    def watch(self) -> None:
        """Begin to watch, if something waits and nobody watches yet."""
        if self._timer is None:
            self._n_before = self._n_unread()
            if self._transport.get_write_buffer_size():
                self._timer = self._loop.call_later(self._seconds, self._look)

    def cancel(self) -> None:
        """Watch no more: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() and self._n_before - self._n_unread() < PROGRESS:
            with suppress(AttributeError, OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        else:
            self.watch()

    def _n_unread(self) -> int:
        """Bytes that the client has not taken, with those that the system holds: it takes more a megabyte at a time."""
        n = self._transport.get_write_buffer_size()
        if sys.platform == "linux":
            with suppress(OSError):
                held = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
                n += struct.unpack("i", held)[0]
        return n
