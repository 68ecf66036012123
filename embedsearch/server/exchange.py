"""One request and its answer, message by message.

A request's id, the size of its body and the time that it takes to arrive; HEAD as GET without its body; headers for
safety; a line in the log, and the metrics; and what the connection (protocol.py) has to say of it.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from embedsearch.server import logs, metrics
from embedsearch.server.problems import problem

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

GONE = 499
"""In logs and metrics: the client left before there was an answer (nginx's number)."""

SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # the address of the page holds the query
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
DATA_PATHS = ("/v1/", "/metrics", "/healthz", "/readyz")
FOR_DATA = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Where an answer is for programs: it is new each time, and were a browser to show it, it could do nothing."""


class Fault(NamedTuple):
    """What is wrong with a request that is no application's to see."""

    status: int
    detail: str
    code: str


@dataclass(slots=True, eq=False)
class Arrival:
    """What a connection and who answers its request tell one another; `scope["state"]["arrival"]`."""

    receive_by: float
    """When the body's last byte must have come, on the loop's clock."""
    fault: Fault | None = None
    """Why the rest of the body cannot be read."""
    on_gone: Callable[[], None] | None = None
    """Called when the connection is lost while the request is under way."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer."""

    scope: Scope
    _receive: Receive
    _send: Send
    arrival: Arrival
    limit: int
    """Bytes of the body."""
    inner: Scope = field(init=False)
    """As the application sees it; it puts the route there."""
    request_id: str = field(init=False)
    refusal: Response | None = field(default=None, init=False)
    """What is answered in place of what the application makes of a body that was cut."""
    is_gone: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.perf_counter, init=False)
    _is_asked_for: bool = field(default=False, init=False)
    """Whether the application has begun to read the body."""
    _n_received: int = field(default=0, init=False)
    _is_whole: bool = field(default=False, init=False)
    _status: int = field(default=0, init=False)
    _n_sent: int = field(default=0, init=False)
    _generation: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        given = self.header(b"x-request-id")
        harmless = bool(given) and REQUEST_ID.fullmatch(given[0])
        self.request_id = given[0].decode() if harmless else uuid.uuid4().hex
        state = self.scope.get("state", {}) | {"request_id": self.request_id}
        # A copy: what runs the application still has to know that the answer has no body.
        method = "GET" if self.scope["method"] == "HEAD" else self.scope["method"]
        self.inner = dict(self.scope, method=method, state=state)

    def header(self, name: bytes) -> list[bytes]:
        """The values of a header of the request."""
        return [value for key, value in self.scope["headers"] if key == name]

    @property
    def method(self) -> str:
        """For a line of the log."""
        return logs.clean(self.scope["method"])

    @property
    def path(self) -> str:
        """For a line of the log."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return logs.clean(raw.decode("latin-1"))

    def too_large(self, found: str) -> Response:
        """The answer to a body that is too large."""
        # The connection stays: what comes of the body is thrown away, so that the client can read the answer.
        detail = f"expected a body of at most {self.limit:,} bytes, found {found}"
        return problem(413, detail, code="OverLimit", request_id=self.request_id)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Cancel the task that runs this when the connection is lost: nobody waits for what it works on."""
        task = asyncio.current_task()

        def leave() -> None:
            self.is_gone = True
            if task is not None:
                task.cancel()

        self.arrival.on_gone = leave
        try:
            yield
        finally:
            self.arrival.on_gone = None

    async def receive(self) -> Message:
        """The next part of the body, for the application; past a limit it hears that the client is gone."""
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        self._is_asked_for = True
        try:
            async with asyncio.timeout_at(None if self._is_whole else self.arrival.receive_by):
                message = await self._receive()
        except TimeoutError:
            detail = f"expected the whole request in time, found {self._n_received:,} bytes of its body"
            return self._cut_off(Fault(408, detail, "TookTooLong"))
        if self.arrival.fault is not None:
            return self._cut_off(self.arrival.fault)
        if message["type"] == "http.disconnect":
            self.is_gone = True
            return message
        self._n_received += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._n_received > self.limit:
            self.refusal = self.too_large("more")
            return {"type": "http.disconnect"}
        return message

    def _cut_off(self, fault: Fault) -> Message:
        """Have `fault` answered, and the connection closed; what the application hears."""
        headers = {"Connection": "close"}
        self.refusal = problem(fault.status, fault.detail, code=fault.code, headers=headers, request_id=self.request_id)
        return {"type": "http.disconnect"}

    @property
    def was_cut(self) -> bool:
        """Whether the application was told, before it had the whole request, that the client is gone."""
        return self.is_gone or self.refusal is not None

    async def answer(self, response: Response | None) -> None:
        """Answer with `response`, unless an answer has begun or nobody waits for one."""
        self.refusal = None
        if response is not None and not self._status and not self.is_gone:
            await response(self.inner, self._receive, self.send)

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if self.refusal is not None and not self._status:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = self._completed(list(message.get("headers", ())))
        elif self.scope["method"] == "HEAD":
            if message.get("more_body"):
                return
            message = {"type": message["type"], "body": b"", "more_body": False}
        else:
            self._n_sent += len(message.get("body", b""))
        await self._send(message)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """An answer's headers, with those that every answer has; what the application set stays."""
        there = {name.lower(): value for name, value in headers}
        generation = there.get(b"x-index-generation", b"")
        self._generation = int(generation) if generation.isdigit() else None
        ours = [*SAFETY, *(FOR_DATA if self.scope["path"].startswith(DATA_PATHS) else ())]
        ours.append((b"x-request-id", self.request_id.encode()))
        if self.header(b"expect") and not self._is_asked_for:
            # A client that waits to be told to send its body may send another request instead, which would be taken
            # for the body.
            ours.append((b"connection", b"close"))
        return headers + [pair for pair in ours if pair[0] not in there]

    def note(self) -> None:
        """Write the log's line and count."""
        seconds = time.perf_counter() - self._began
        status = self._status or GONE
        route = getattr(self.inner.get("route"), "path", None) or "unmatched"
        metrics.request_done(route, self.scope["method"], status, seconds)
        client = self.scope.get("client")
        logs.write_access(
            logs.Answered(
                request_id=self.request_id,
                client=logs.clean(str(client[0])) if client else "-",
                method=self.method,
                path=self.path,
                status=status,
                bytes=self._n_sent,
                ms=round(seconds * 1000, 1),
                generation=self._generation,
            )
        )
