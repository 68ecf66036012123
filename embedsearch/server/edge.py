"""Around the application: what every request must keep to, and what every answer has.

A request's id, the host it names, the size of its body and the time that it takes to arrive; HEAD as GET without its
body; headers for safety; the problem document of an error that nobody expected; a line in the log, and the metrics.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedsearch.errors import EmbedsearchError
from embedsearch.server import logs, metrics
from embedsearch.server.hosts import is_ours
from embedsearch.server.keys import Keys
from embedsearch.server.options import ServeOptions
from embedsearch.server.problems import internal_error, problem, problem_of

log = logging.getLogger("embedsearch")

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


class Edge:
    """ASGI middleware, the outermost of an application's own."""

    def __init__(self, app: ASGIApp, *, options: ServeOptions, keys: Keys) -> None:
        self._app = app
        self._options = options
        self._keys = keys
        self._hosts = frozenset(name.lower().rstrip(".") for name in (*options.allowed_hosts, options.host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, limit=self._options.limits.body)
        exchange.deadline = scope.get("state", {}).get("receive_by") or (
            asyncio.get_running_loop().time() + self._options.limits.receive_seconds
        )
        try:
            await self._answer(exchange)
        finally:
            exchange.note()

    async def _answer(self, exchange: _Exchange) -> None:
        refusal = self._refusal(exchange)
        if refusal is not None:
            await exchange.answer(refusal)
            return
        id, instead = exchange.request_id, None
        try:
            await self._app(exchange.inner, exchange.receive, exchange.send)
        except EmbedsearchError as error:
            instead = problem_of(error, request_id=id, hidden=self._options.index)
        except asyncio.CancelledError:
            # The server stops, and has waited as long as it was told to.
            detail = "expected an answer in the time that a server takes to stop, found that it took longer"
            instead = problem(503, detail, code="Overloaded", headers={"Retry-After": "5"}, request_id=id)
        except Exception as error:
            if not exchange.was_cut:  # else it is how the application noticed
                log.error("request %s, %s: a bug", id, exchange.path, exc_info=error)
            instead = internal_error(request_id=id)
        await exchange.answer(exchange.refusal or instead)

    def _refusal(self, exchange: _Exchange) -> Response | None:
        """Why a request is not even looked at."""
        hosts = exchange.header(b"host")
        id = exchange.request_id
        if len(hosts) > 1 or (not hosts and exchange.scope["http_version"] != "1.0"):
            detail = f"expected one Host header, found {len(hosts) or 'none'}"
            return problem(400, detail, code="QueryError", request_id=id)
        checked = bool(self._options.allowed_hosts) or not self._keys.required
        if checked and hosts and not is_ours(hosts[0].decode("latin-1"), self._hosts):
            found = logs.clean(hosts[0].decode("latin-1"))
            detail = f"expected a name of this server in Host, found {found!r}: start it with --allow-host NAME"
            return problem(421, detail, code="NotAllowed", request_id=id)
        lengths = exchange.header(b"content-length")
        if lengths and lengths[0].isdigit() and int(lengths[0][:20]) > self._options.limits.body:
            return exchange.too_large(f"{int(lengths[0][:20]):,}")
        return None


@dataclass(slots=True, eq=False)
class _Exchange:
    """One request and its answer."""

    scope: Scope
    _receive: Receive
    _send: Send
    limit: int
    """Bytes of the body."""
    deadline: float = 0.0
    """Of the body's last byte, on the loop's clock."""
    inner: Scope = field(init=False)
    """As the application sees it; it puts the route there."""
    request_id: str = field(init=False)
    refusal: Response | None = field(default=None, init=False)
    """What is answered in place of what the application makes of a body that was cut."""
    is_gone: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.perf_counter, init=False)
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
    def path(self) -> str:
        """The method and path for a line of the log."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return f"{logs.clean(self.scope['method'])} {logs.clean(raw.decode('latin-1'))}"

    def too_large(self, found: str) -> Response:
        """The answer to a body that is too large."""
        # The connection stays: what comes of the body is thrown away, so that the client can read the answer. One that
        # waits to be told to send its body may send another request instead, which would be taken for the body.
        headers = {"Connection": "close"} if self.header(b"expect") else {}
        detail = f"expected a body of at most {self.limit:,} bytes, found {found}"
        return problem(413, detail, code="OverLimit", headers=headers, request_id=self.request_id)

    async def receive(self) -> Message:
        """The next part of the body, for the application; past a limit it hears that the client is gone."""
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(None if self._is_whole else self.deadline):
                message = await self._receive()
        except TimeoutError:
            detail = f"expected the whole request in time, found {self._n_received:,} bytes of its body"
            self.refusal = problem(
                408, detail, code="TookTooLong", headers={"Connection": "close"}, request_id=self.request_id
            )
            return {"type": "http.disconnect"}
        if message["type"] == "http.disconnect":
            self.is_gone = True
            return message
        self._n_received += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._n_received > self.limit:
            self.refusal = self.too_large("more")
            return {"type": "http.disconnect"}
        return message

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
        return headers + [pair for pair in ours if pair[0] not in there]

    def note(self) -> None:
        """Write the log's line and count."""
        seconds = time.perf_counter() - self._began
        status = self._status or GONE
        route = getattr(self.inner.get("route"), "path", None) or "unmatched"
        metrics.request_done(route, self.scope["method"], status, seconds)
        method, path = self.path.split(" ")
        client = self.scope.get("client")
        logs.write_access(
            logs.Answered(
                request_id=self.request_id,
                client=logs.clean(str(client[0])) if client else "-",
                method=method,
                path=path,
                status=status,
                bytes=self._n_sent,
                ms=round(seconds * 1000, 1),
                generation=self._generation,
            )
        )
