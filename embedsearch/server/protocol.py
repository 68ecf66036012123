"""HTTP/1.1 with bounds: uvicorn's protocol waits for a request as long as a client likes, and for a head of any size.

What is bounded here: the time that a request takes to arrive, the bytes of its head and of all that surrounds its
body, the time that a client may leave an answer unread, and the open connections. The size of the body itself and the
time that it takes are exchange.py's, which hears from here when time is up, the rest is no HTTP, or the client is gone.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from enum import Enum, auto
from typing import Any

from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from embedsearch.server import logs, metrics
from embedsearch.server.exchange import SAFETY, Arrival, Fault
from embedsearch.server.options import Limits
from embedsearch.server.problems import problem
from embedsearch.server.unread import Unread

MAX_HEAD = 32 << 10
"""Bytes of a request's line and headers."""

TOO_LONG = Fault(431, f"expected a request's line and headers of at most {MAX_HEAD:,} bytes, found more", "OverLimit")
NO_HTTP = Fault(400, "expected a request in HTTP/1.1, found something else", "QueryError")

OVERHEAD = 8
"""A body may come in so small chunks that their lengths and line ends take up to so many times its own bytes."""

LINGER_SECONDS = 1.0
"""After a refusal what the client still sends is thrown away: to close at once could take the answer from it."""


class _Part(Enum):
    """What of a request is awaited."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Give `functools.partial(BoundedProtocol, limits=...)` to uvicorn as its `http`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._awaited = _Part.NOTHING
        self._n_raw = self._n_head = 0
        self._since = time.perf_counter()
        self._timer: asyncio.TimerHandle | None = None
        self._arrivals: deque[Arrival] = deque()
        """Of the requests that have begun and have no answer yet, in their order."""
        self._unread: Unread | None = None
        self._is_refused = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unread = Unread(transport, loop=self.loop, seconds=self._limits.receive_seconds)
        n_open = len(self.connections)
        if n_open > 2 * self._limits.connections:
            transport.abort()
        elif n_open > self._limits.connections:
            most = self._limits.connections
            detail = f"expected at most {most:,} open connections, found more: try again in a moment"
            self._refuse(Fault(503, detail, "Overloaded"), headers={"Retry-After": "1"})
        else:
            self._await_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)
        for arrival in self._arrivals:
            if arrival.on_gone is not None:
                arrival.on_gone()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._n_raw += len(data)
        super().data_received(data)
        if self._awaited is _Part.HEAD and self._n_raw > MAX_HEAD:
            self._refuse(TOO_LONG)
        elif self._awaited is _Part.BODY and self._n_raw > OVERHEAD * self._limits.body + MAX_HEAD:
            self.transport.close()

    # The parser's calls, in their order

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaited = _Part.HEAD
        self._n_raw = self._n_head = 0
        arrival = Arrival(receive_by=self._await_arrival())
        self._arrivals.append(arrival)
        self.scope["state"]["arrival"] = arrival

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        if self._awaited is _Part.HEAD:  # after the body they would pass for headers that nobody has checked
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._awaited = _Part.BODY

    def on_message_complete(self) -> None:
        self._awaited = _Part.NOTHING
        self._cancel_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._arrivals.popleft()
        if self.pipeline:  # it was not read on while the one before it was answered
            self._arrivals[0].receive_by = self.loop.time() + self._limits.receive_seconds
        super().on_response_complete()
        self._watch_reading(only_if_closing=True)

    def _count_head(self, n: int) -> None:
        self._n_head += n
        if self._n_head > MAX_HEAD:
            raise ValueError("the head is too long")  # the parser's way to stop; send_400_response is called

    # How long a request takes to arrive

    def _await_arrival(self) -> float:
        """Give what is to come its time; when that ends, on the loop's clock."""
        self._cancel_timer()
        self._since = time.perf_counter()
        deadline = self.loop.time() + self._limits.receive_seconds
        self._timer = self.loop.call_at(deadline, self._too_slow)
        return deadline

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._is_answering():
            # The rest of a body is the middleware's to wait for; a next request is not read before this one's answer.
            self._await_arrival()
        elif self._awaited is _Part.HEAD:
            detail = f"expected the head of the request in {self._limits.receive_seconds:g} s, found a part of it"
            self._refuse(Fault(408, detail, "TookTooLong"))
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # How long an answer stays unread

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reading()

    def shutdown(self) -> None:
        super().shutdown()
        self._watch_reading(only_if_closing=True)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reading()

    def _watch_reading(self, *, only_if_closing: bool = False) -> None:
        if self._unread is not None and (self.transport.is_closing() or not only_if_closing):
            self._unread.watch()

    # Requests that the application never sees

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls this."""
        self._refuse(TOO_LONG if self._n_head > MAX_HEAD else NO_HTTP)

    def _refuse(self, fault: Fault, *, headers: dict[str, str] | None = None) -> None:
        self._is_refused = True
        self._cancel_timer()
        if self._is_answering():
            self.cycle.keep_alive = False  # nothing may stand within the answer under way, after which it is closed
            if self._awaited is _Part.BODY:
                self._arrivals[-1].fault = fault
                self.cycle.more_body = False  # wakes who waits for the rest
                self.cycle.message_event.set()
        elif self._awaited is _Part.BODY:  # it has its answer
            self.transport.close()
        else:
            self._answer(fault, headers)

    def _answer(self, fault: Fault, headers: dict[str, str] | None) -> None:
        id = uuid.uuid4().hex
        response = problem(fault.status, fault.detail, code=fault.code, headers=headers, request_id=id)
        self.transport.write(_as_bytes(response, [*self.server_state.default_headers, *SAFETY], id))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self._end)
        self._note(id, response)

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._watch_reading()

    def _note(self, id: str, response: Response) -> None:
        seconds = time.perf_counter() - self._since
        metrics.request_done("refused", "-", response.status_code, seconds)
        logs.write_access(
            logs.Answered(
                request_id=id,
                client=self.client[0] if self.client else "-",
                method="-",
                path="-",
                status=response.status_code,
                bytes=len(response.body),
                ms=round(seconds * 1000, 1),
                generation=None,
            )
        )


def _as_bytes(response: Response, more: list[tuple[bytes, bytes]], id: str) -> bytes:
    """A whole answer, after which the connection ends."""
    headers = [*more, *response.raw_headers, (b"x-request-id", id.encode()), (b"connection", b"close")]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body)
