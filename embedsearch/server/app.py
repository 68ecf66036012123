"""The application: routes, middleware and errors around one engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from embedsearch._version import __version__
from embedsearch.server import api
from embedsearch.server.edge import Edge
from embedsearch.server.engine import Engine
from embedsearch.server.failures import handle_failures
from embedsearch.server.keys import ENV, Keys
from embedsearch.server.openapi import describe
from embedsearch.server.options import ServeOptions
from embedsearch.server.page import routes as page
from embedsearch.server.page.day import DayFile


def create_app(options: ServeOptions, *, engine: Engine | None = None) -> FastAPI:
    """The application for `options.index`; its engine is opened when it starts, and is `app.state.engine`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await app.state.engine.start()
        yield
        await app.state.engine.stop()

    app = FastAPI(
        title="embedsearch",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.engine = engine or Engine(options)
    app.state.options = options
    app.state.keys = Keys(options.keys_file, os.environ.get(ENV))
    app.state.day = DayFile(options.index)
    app.include_router(api.router)
    app.include_router(page.router)
    handle_failures(app)
    describe(app)
    app.add_middleware(Edge, options=options, keys=app.state.keys)
    return app
