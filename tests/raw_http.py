"""HTTP as bytes on a socket, so that no client puts right what is to be wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any


def get(path: str | bytes, *headers: str, method: str = "GET", version: str = "1.1", host: str = "localhost") -> bytes:
    """A request without a body; no Host if that is empty."""
    lines = [*([f"Host: {host}"] if host else []), *headers]
    raw = path if isinstance(path, bytes) else path.encode()
    first = method.encode() + b" " + raw + f" HTTP/{version}\r\n".encode()
    return first + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def post(path: str, body: Any, *headers: str, kind: str = "application/json") -> bytes:
    """A request with a body: bytes as they are, anything else as JSON; no Content-Type if `kind` is empty."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stated = [f"Content-Type: {kind}"] if kind else []
    return get(path, *stated, f"Content-Length: {len(raw)}", *headers, method="POST") + raw


def ask(url: str, request: bytes) -> tuple[int, http.client.HTTPResponse, bytes]:
    """Status, headers and body of the answer to raw bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):  # it has been answered before it was whole
            connection.sendall(request)
        answer = http.client.HTTPResponse(connection, method=request[:4].decode("latin-1").strip())
        answer.begin()
        return answer.status, answer, answer.read()
