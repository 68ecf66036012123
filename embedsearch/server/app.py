"""The application: routes, middleware and errors around one engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from embedsearch._version import __version__
from embedsearch.server import api
from embedsearch.server.engine import Engine
from embedsearch.server.options import ServeOptions


def create_app(options: ServeOptions, *, engine: Engine | None = None) -> FastAPI:
    """The application for `options.index`; its engine is opened when it starts, and is `app.state.engine`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await app.state.engine.start()
        yield
        await app.state.engine.stop()

    app = FastAPI(title="embedsearch", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.engine = engine or Engine(options)
    app.state.options = options
    app.include_router(api.router)
    return app
