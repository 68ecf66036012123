"""The sockets on which a server listens."""

from __future__ import annotations

import errno
import socket
import sys

from embedsearch.errors import ServerError

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: any free one. Raises ServerError, which says what stands in the way."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter: of a name that is none
        why = getattr(error, "strerror", None) or error
        raise ServerError(f"expected an address of this machine, found {host!r}: {why}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ServerError(_why_not(error, host, port)) from error
    return listening


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"expected port {port} of {host} to be free, found another server there: choose one with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"expected an address of this machine, found {host!r}: choose one with --host"
    if error.errno == errno.EACCES:
        return f"expected a port that this user may use (1024 or above), found {port}: choose one with --port"
    return f"expected to listen on port {port} of {host}, found: {error.strerror or error}"


def address(listening: socket.socket) -> str:
    """http://127.0.0.1:8000"""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def share(listening: socket.socket) -> socket.socket:
    """What holds the port of `listening`, which is closed, for the sockets of several workers; see `of_worker`.

    Of connections that come at once to a socket which processes share, one process takes all, and has them as long as
    they are kept open. So each has a socket of its own, and Linux deals connections out among them. Those of a process
    that has ended get no more. Elsewhere the system does not deal out, and they share.
    """
    if sys.platform != "linux":
        return listening
    return _beside(listening.getsockname(), listening.family, instead_of=listening)


def of_worker(held: socket.socket) -> socket.socket:
    """A socket for one more worker, on the port that `share` holds."""
    if sys.platform != "linux":
        return held.dup()
    return _beside(held.getsockname(), held.family)


def _beside(where: object, family: int, *, instead_of: socket.socket | None = None) -> socket.socket:
    """A socket on an address that others may have too, if they say so. It does not listen yet."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if instead_of is not None:
        instead_of.close()
    try:
        made.bind(where)  # type: ignore[arg-type]  # what getsockname gave
    except OSError as error:
        made.close()
        raise ServerError(f"expected to keep the address {where}, found: {error.strerror or error}") from error
    return made
