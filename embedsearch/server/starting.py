"""An application whose start can fail in one line: uvicorn would log a traceback, and tell its caller nothing."""

from __future__ import annotations

import logging
import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedsearch.errors import EmbedsearchError
from embedsearch.server.app import create_app
from embedsearch.server.options import ServeOptions

log = logging.getLogger("embedsearch")


class Starting:
    """ASGI: the application within, whose `failure` is what kept it from starting, if it is an error of ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: EmbedsearchError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def kept(message: Message) -> None:
            error = sys.exception()  # the application says that it failed while it handles this
            if message["type"] == "lifespan.startup.failed" and isinstance(error, EmbedsearchError):
                self.failure = error
                message = {**message, "message": self.complaint}
            await send(message)

        await self._app(scope, receive, kept)

    @property
    def complaint(self) -> str:
        """What is logged of a failure: nothing, since the caller has it."""
        return ""


class StartingWorker(Starting):
    """The same in a process of which the caller sees the exit code alone."""

    @property
    def complaint(self) -> str:
        """All of it."""
        return f"A worker cannot start: {self.failure}"


def worker_app(options: ServeOptions) -> Starting:
    """The application of a worker. Its name can be pickled."""
    return StartingWorker(create_app(options))
