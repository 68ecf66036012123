"""Around the application: what every request must keep to, and what becomes of what goes wrong.

The host that a request names, the size that it states for its body; the problem document of an error that nobody
expected, and of an answer that the end of the server cuts off. What is done to each message stands in exchange.py.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from embedsearch.errors import EmbedsearchError
from embedsearch.server import logs
from embedsearch.server.exchange import Arrival, Exchange
from embedsearch.server.hosts import is_ours
from embedsearch.server.keys import Keys
from embedsearch.server.options import ServeOptions
from embedsearch.server.problems import internal_error, problem, problem_of

log = logging.getLogger("embedsearch")


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
        limits = self._options.limits
        arrival = scope.get("state", {}).get("arrival") or Arrival(
            receive_by=asyncio.get_running_loop().time() + limits.receive_seconds
        )
        exchange = Exchange(scope, receive, send, arrival=arrival, limit=limits.body)
        try:
            with exchange.under_way():
                await self._answer(exchange)
        except asyncio.CancelledError:
            if not exchange.is_gone:
                raise
        finally:
            exchange.note()

    async def _answer(self, exchange: Exchange) -> None:
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
            if exchange.is_gone:
                raise
            # The server stops, and has waited as long as it was told to.
            detail = "expected an answer in the time that a server takes to stop, found that it took longer"
            instead = problem(503, detail, code="Overloaded", headers={"Retry-After": "5"}, request_id=id)
        except Exception as error:
            if not exchange.was_cut:  # else it is how the application noticed
                log.error("request %s, %s %s: a bug", id, exchange.method, exchange.path, exc_info=error)
            instead = internal_error(request_id=id)
        await exchange.answer(exchange.refusal or instead)

    def _refusal(self, exchange: Exchange) -> Response | None:
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
