"""From options to a server that answers, in this process or in several."""

from __future__ import annotations

import functools
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from embedsearch.errors import OptionError, ServerError
from embedsearch.search import Searcher
from embedsearch.server import metrics
from embedsearch.server.app import create_app
from embedsearch.server.hosts import is_loopback
from embedsearch.server.keys import ENV, Keys
from embedsearch.server.listening import BACKLOG, address, listen
from embedsearch.server.logs import log_config
from embedsearch.server.options import ServeOptions
from embedsearch.server.protocol import BoundedProtocol
from embedsearch.server.starting import Starting, worker_app
from embedsearch.server.supervisor import Supervisor

log = logging.getLogger("embedsearch")

KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy keeps an idle connection (nginx: 60 s): it must not send a request just when this side closes."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def serve(options: ServeOptions) -> None:
    """Answer until SIGTERM or SIGINT; then no more connections are taken, and what is under way is answered.

    A line in the log says where it listens. Raises ServerError for an address that cannot be listened on, OptionError
    for one that others reach where nobody needs a key, the store's own error where it cannot be opened, and
    KeyboardInterrupt for a second SIGINT.
    """
    check_open(options)
    _set_threads(options.workers)
    with listen(options.host, options.port) as listening:
        n_papers = Searcher.open(options.index).generation.n_papers
        where = f"listening on {address(listening)}: {options.index}, {n_papers:,} papers"
        if options.workers == 1:
            _run_here(options, listening, when_ready=lambda: log.info(where))
        else:
            config = _config(options, functools.partial(worker_app, options), factory=True)
            with metrics.prepare_multiprocess():
                supervisor = Supervisor(config, listening, drain_seconds=options.limits.drain_seconds)
                supervisor.run(when_ready=lambda: log.info(where))


def check_open(options: ServeOptions) -> None:
    """Raise OptionError where others than this machine could ask and nobody needs a key."""
    keys = Keys(options.keys_file, os.environ.get(ENV))
    if not (is_loopback(options.host) or keys.required or options.insecure):
        raise OptionError(
            f"expected a key where others than this machine can ask ({options.host}), found none: `embedsearch keys add"
            " NAME`, or --insecure to let everybody search"
        )


def message_level() -> int:
    """A server says more of itself than a command: INFO, unless told to be quiet."""
    level = log.getEffectiveLevel()
    return logging.INFO if level == logging.WARNING else level


def _config(options: ServeOptions, app: Any, *, factory: bool = False) -> uvicorn.Config:
    """What uvicorn is told; goes to workers, and so can be pickled. It sets up the log of this process."""
    protocol: Any = functools.partial(BoundedProtocol, limits=options.limits)
    return uvicorn.Config(
        app,
        factory=factory,
        interface="asgi3",
        lifespan="on",
        http=protocol,
        ws="none",
        workers=options.workers,
        log_config=log_config(options.log_format, level=message_level()),
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(options.limits.drain_seconds),
    )


def _set_threads(workers: int) -> None:
    """What OpenMP and BLAS are told in the environment, unless the user has told them; before torch is loaded."""
    # By default OpenMP's threads spin while they wait, and keep a core from searching: a seventh more queries without.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if workers > 1:  # all of them together as many as the cores
        n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for name in THREADS:
            os.environ.setdefault(name, str(max(1, n_cores // workers)))


class _Server(uvicorn.Server):
    """One that says when it is ready, and that the second Ctrl-C ends at once, whatever its threads do."""

    def __init__(self, config: uvicorn.Config, *, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            sys.stderr.flush()
            os._exit(130)  # an exception would wait for the threads, and nothing needs to be put away
        super().handle_exit(sig, frame)

    def stop(self, sig: int, frame: FrameType | None) -> None:
        """Handles a signal before uvicorn does so, and afterwards, when uvicorn sends itself what it has handled."""
        self.should_exit = True


def _run_here(options: ServeOptions, listening: socket.socket, *, when_ready: Callable[[], None]) -> None:
    starting = Starting(create_app(options))
    server = _Server(_config(options, starting), when_ready=when_ready)
    before = {sig: signal.signal(sig, server.stop) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    except SystemExit:
        raise starting.failure or ServerError("expected the server to start, found the error above") from None
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
