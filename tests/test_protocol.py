"""Clients that take their time, or send what is no request: each is answered or cut off, and the server goes on."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from serving import in_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from embedsearch.server.edge import Edge
from embedsearch.server.keys import Keys
from embedsearch.server.options import Limits, ServeOptions
from embedsearch.server.protocol import MAX_HEAD

LIMITS = Limits(receive_seconds=0.3, body=10_000, connections=8)
BIG = 64 << 20
LET_GO = threading.Event()
"""Whoever worked on an answer to /never has been told to stop."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """/: says how many bytes came, and which headers; /early: answers before the body; /big: 64 MiB; /never: never."""
    if scope["path"] == "/big":
        await PlainTextResponse(b"x" * BIG)(scope, receive, send)
        return
    if scope["path"] == "/never":
        try:
            await asyncio.Event().wait()
        finally:
            LET_GO.set()
    request = Request(scope, receive)
    n = 0 if scope["path"] == "/early" else len(await request.body())
    await PlainTextResponse(f"{n} bytes {request.headers.get('x-late')}")(scope, receive, send)


@contextmanager
def serving(limits: Limits = LIMITS, **config: Any) -> Iterator[int]:
    edge = Edge(app, options=ServeOptions(index=Path("index"), limits=limits), keys=Keys(None, None))
    with in_thread(edge, limits, lifespan="off", **config) as port:
        yield port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as port:
        yield port
        # After all that was done to it
        with connected(port) as client:
            assert status(ask(client, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == 200


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := client.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        parts.append(b"[reset]")
    return b"".join(parts)


def ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return rest(client)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"x-request-id: " in head
    assert b"connection: close" in head.lower()
    found: dict[str, Any] = json.loads(body)
    assert found["request_id"].encode() in head
    return found


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


def test_who_says_nothing_is_let_go(port: int) -> None:
    with connected(port) as client:
        assert rest(client) == b""


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", HEAD + b"X-A: b"])
def test_a_head_without_end(port: int, start: bytes) -> None:
    with connected(port) as client:
        found = problem_in(ask(client, start))
    assert (found["status"], found["code"]) == (408, "TookTooLong")
    assert found["detail"] == "expected the head of the request in 0.3 s, found a part of it"


def drip(client: socket.socket, data: bytes) -> bytes:
    """Send a byte at a time, until the server has had enough."""
    client.settimeout(0.05)
    for i in range(len(data)):
        try:
            client.send(data[i : i + 1])
            found = client.recv(1 << 16)
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
        client.settimeout(20)
        return found + rest(client)
    raise AssertionError("all of it was taken")


def test_slow_headers(port: int) -> None:
    with connected(port) as client:
        assert status(drip(client, HEAD + b"X-Slow: abcdefghijklmnopqrstuvwxyz\r\n" * 9)) == 408


def test_a_slow_body(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        assert problem_in(drip(client, b"x" * 1000))["status"] == 408


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
def test_a_body_without_end(port: int, framing: bytes) -> None:
    with connected(port) as client:
        found = problem_in(ask(client, HEAD + framing))
    assert found["status"] == 408
    assert found["detail"] == "expected the whole request in time, found 3 bytes of its body"


def test_a_body_that_nobody_waits_for_is_waited_for_no_longer(port: int) -> None:
    with connected(port) as client:
        answer = ask(client, HEAD.replace(b"/ ", b"/early ", 1) + b"Content-Length: 10\r\n\r\nabc")
    assert status(answer) == 200  # and the connection was closed, or `rest` would not end


def test_chunks_without_end_are_refused_by_their_size(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        for _ in range(10):
            client.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert status(client.recv(1 << 16)) == 413


def pour(client: socket.socket, data: bytes) -> None:
    for _ in range(100):
        client.sendall(data)
        time.sleep(0.001)


@pytest.mark.parametrize(("start", "more"), [(b"", b"1;" + b"e" * 5000 + b"\r\nx\r\n"), (b"0\r\nX-T: ", b"y" * 5000)])
def test_what_surrounds_a_body_is_bounded_too(port: int, start: bytes, more: bytes) -> None:
    with connected(port) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + start)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            pour(client, more)


def test_what_follows_a_body_is_no_header(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        answer = ask(client, b"X-Late: yes\r\nHost: evil.example\r\n\r\n")
    assert answer.endswith(b"1 bytes None")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"X-A: " + b"b" * MAX_HEAD + b"\r\n\r\n",
        HEAD + b"X-A: b\r\n" * (MAX_HEAD // 8) + b"\r\n",
        HEAD + b"X" * 200_000,
    ],
)
def test_a_head_is_bounded(port: int, head: bytes) -> None:
    with connected(port) as client:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have seen enough
            client.sendall(head)
        found = problem_in(rest(client).removesuffix(b"[reset]"))
    assert (found["status"], found["code"]) == (431, "OverLimit")
    assert "at most 32,768 bytes" in found["detail"]


def test_a_head_just_within(port: int) -> None:
    filling = b"b" * (MAX_HEAD - 200)
    with connected(port) as client:
        answer = ask(client, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: " + filling + b"\r\n\r\n")
    assert status(answer) == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",  # smuggling
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request(port: int, data: bytes) -> None:
    with connected(port) as client:
        found = problem_in(ask(client, data))
    assert (found["status"], found["code"]) == (400, "QueryError")


@pytest.mark.parametrize("rest", [b"zz\r\n", b"1;a\x00b\r\n", b"3\r\nabcd\r\n"])
def test_a_body_that_turns_out_to_be_none_is_answered_at_once(rest: bytes) -> None:
    with serving(Limits(receive_seconds=600)) as port, connected(port) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        found = problem_in(ask(client, rest))
    assert (found["status"], found["code"]) == (400, "QueryError")


def test_a_bad_body_behind_other_requests_is_answered_in_its_turn(port: int) -> None:
    with connected(port) as client:
        good = HEAD + b"Content-Length: 1\r\n\r\nx"
        answers = ask(client, 2 * good + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"200", b"400"]


def test_an_answer_that_came_before_a_bad_body_is_not_followed_by_another(port: int) -> None:
    with connected(port) as client:
        client.sendall(HEAD.replace(b"/ ", b"/early ", 1) + b"Transfer-Encoding: chunked\r\n\r\n")
        assert status(client.recv(1 << 16)) == 200
        assert ask(client, b"zz\r\n") in (b"", b"[reset]")


@pytest.mark.parametrize("before", [b"", b"GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_what_a_client_that_left_had_asked_for_is_worked_on_no_longer(before: bytes) -> None:
    LET_GO.clear()
    with serving(Limits(receive_seconds=600)) as port:
        with connected(port) as client:
            client.sendall(before + b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if before:
                client.recv(1)
        assert LET_GO.wait(60)


def test_an_upgrade_is_not_made(port: int) -> None:
    for upgrade in (b"websocket", b"h2c"):
        with connected(port) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
            )
            assert status(client.recv(1 << 16)) == 200


def test_requests_in_one_go_are_answered_in_order(port: int) -> None:
    one = HEAD + b"Content-Length: %d\r\n\r\n%s"
    with connected(port) as client:
        for sizes in ((1, 2, 3), (4,)):
            client.sendall(b"".join(one % (n, b"x" * n) for n in sizes))
        last = HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nxxxxx"
        answer = ask(client, last)
    assert [n for n in range(1, 6) if b"%d bytes None" % n in answer] == [1, 2, 3, 4, 5]


def test_a_connection_lives_longer_than_one_requests_time(port: int) -> None:
    with connected(port) as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(client.recv(1 << 16)) == 200
            time.sleep(0.2)  # 0.6 s in all, of 0.3


def test_an_idle_connection_is_closed() -> None:
    with serving(timeout_keep_alive=0) as port, connected(port) as client:
        answer = ask(client, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status(answer) == 200


def test_an_answer_that_nobody_reads_is_given_up(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.0)
        assert len(rest(client)) < BIG


def read(client: socket.socket, n: int) -> int:
    """Read n bytes, not one more."""
    left = n
    while left:
        left -= len(client.recv(left))
    return n


def test_an_answer_that_is_read_slowly_arrives(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        n = 0
        for _ in range(4):
            time.sleep(0.15)
            n += read(client, BIG // 512)
        assert n + len(rest(client)) > BIG


def test_connections_are_bounded() -> None:
    limits = Limits(receive_seconds=20, connections=2)
    with serving(limits) as port, connected(port) as first, connected(port) as second:
        for client in (first, second):
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status(client.recv(1 << 16)) == 200
        with connected(port) as third:
            answer = rest(third)
        assert problem_in(answer)["code"] == "Overloaded"
        assert b"retry-after: 1" in answer
        first.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status(rest(first)) == 200
        for _ in range(200):
            with connected(port) as fourth:
                fourth.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if status(rest(fourth)) == 200:
                    break
        else:
            raise AssertionError("no place became free")
