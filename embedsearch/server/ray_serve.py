"""`serve --engine ray`: the server on a Ray cluster, as many of it as the load asks for, until it is told to end."""

from __future__ import annotations

import dataclasses
import logging
import logging.config
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from embedsearch.encoders import Encoder
from embedsearch.errors import EmbedsearchError, MissingExtra, OptionError, ServerError
from embedsearch.search import Searcher
from embedsearch.search.parts import bounds
from embedsearch.server.keys import ENV, Keys
from embedsearch.server.listening import address, listen
from embedsearch.server.logs import log_config
from embedsearch.server.options import RayOptions, ServeOptions
from embedsearch.server.run import KEEP_ALIVE_SECONDS, check_open, message_level
from embedsearch.stages.ray_engine import connect, ray_library

log = logging.getLogger("embedsearch")

LOOK_SECONDS = 5.0
"""Between two looks at whether the cluster is still there."""
MOST_LOOKS = 6
"""So often in a row it may not answer."""


def serve_on_ray(options: ServeOptions, ray_options: RayOptions, *, encoder: Encoder | None = None) -> None:
    """Answer until SIGTERM or SIGINT; then end what was started: of a cluster that was there, the application alone.

    The store must have the same path on all nodes, and embedsearch must be installed there. A line in the log says
    where it listens: on the head node. Raises what `run.serve` raises, and ServerError where the cluster cannot start
    it or is lost, KeyboardInterrupt for a signal while it starts. `encoder` stands in for the store's own (tests).
    """
    options = dataclasses.replace(
        options, index=options.index.resolve(), keys_file=options.keys_file and options.keys_file.resolve()
    )
    check_open(options)
    n_papers = Searcher.open(options.index).generation.n_papers
    bounds(n_papers, ray_options.parts)
    ray = ray_library()
    options, where = _placed(options, ray_options)
    logging.config.dictConfig(log_config(options.log_format, level=message_level()))
    with _told_to_end() as told, _joined(ray, ray_options) as goes_on:
        told.interrupts()
        with deployed(options, ray_options, encoder=encoder, goes_on=goes_on):
            told.is_starting = False
            log.info("listening on %s: %s, %s papers%s", where, options.index, f"{n_papers:,}", _spread(ray_options))
            _wait(told)


def _placed(options: ServeOptions, ray_options: RayOptions) -> tuple[ServeOptions, str]:
    """With the port that it will listen on, and its address. Of this machine's ports it is seen now that it is free."""
    if ray_options.address is None:
        with listen(options.host, options.port) as listening:
            return dataclasses.replace(options, port=listening.getsockname()[1]), address(listening)
    if os.environ.get(ENV):
        raise OptionError(f"expected keys in a file on a cluster (`embedsearch keys`), found {ENV}, which stays here")
    if options.port == 0:
        raise OptionError("expected a --port on a cluster, found 0")
    return options, f"http://{options.host}:{options.port} of the head node"


def _spread(options: RayOptions) -> str:
    least, most = options.replicas
    copies = f"{least}" if least == most else f"{least} to {most}"
    parts = f"{options.parts} parts, " if options.parts > 1 else ""
    return f", {parts}replicas: {copies}"


class _Told(threading.Event):
    """Set by a signal."""

    is_starting = False

    def interrupts(self) -> None:
        """From now on the first signal is a KeyboardInterrupt: a cluster may never have room for what is started."""
        if self.is_set():
            raise KeyboardInterrupt
        self.is_starting = True


@contextmanager
def _told_to_end() -> Iterator[_Told]:
    """Set by SIGTERM and SIGINT. A second SIGINT is a KeyboardInterrupt."""
    told = _Told()

    def stop(sig: int, frame: FrameType | None) -> None:
        interrupts = told.is_starting or (told.is_set() and sig == signal.SIGINT)
        told.is_starting = False
        told.set()
        if interrupts:
            raise KeyboardInterrupt

    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


@contextmanager
def _joined(ray: Any, options: RayOptions) -> Iterator[bool]:
    """Whether the cluster goes on without this process."""
    if ray.is_initialized():  # by the caller
        yield True
        return
    handlers = {sig: signal.getsignal(sig) for sig in (signal.SIGTERM, signal.SIGINT)}
    n_cpus = None if options.address else max(os.cpu_count() or 1, math.ceil(options.cpus))
    connect(ray, options.address, num_cpus=n_cpus)
    for sig, handler in handlers.items():  # Ray sets its own, which exits
        signal.signal(sig, handler)
    try:
        yield options.address is not None
    finally:
        ray.shutdown()


@contextmanager
def deployed(
    options: ServeOptions, ray_options: RayOptions, *, encoder: Encoder | None = None, goes_on: bool = False
) -> Iterator[None]:
    """The application runs on the cluster that this process has joined, and is deleted at the end. See serve_on_ray.

    Of a cluster that `goes_on` Ray Serve is ended too, if it was started here.
    """
    serve, application, name = _ray_serve()
    there = serve.status()
    is_ours = not there.proxies and not there.applications
    if not is_ours:
        _check_shared(options, list(there.applications), name)
    try:
        try:
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": options.host, "port": options.port, "keep_alive_timeout_s": KEEP_ALIVE_SECONDS},
                logging_config={"enable_access_log": False, "log_level": "WARNING"},
            )
            _say_if_it_waits(ray_library(), ray_options)
            serve.run(application(options, ray_options, encoder=encoder), name=name, route_prefix="/")
        except (RuntimeError, ValueError, TimeoutError, serve.exceptions.RayServeException) as error:
            raise ServerError(
                f"expected the server to start on the cluster, found: {_why(serve, name, error)}"
            ) from error
        yield
    finally:
        with suppress(Exception):  # of a cluster that is lost
            serve.delete(name)
            if is_ours and goes_on and not serve.status().applications:
                serve.shutdown()


def _ray_serve() -> tuple[Any, Any, str]:
    try:
        from ray import serve

        from embedsearch.server.ray_parts import APP, application
    except EmbedsearchError:
        raise
    except ImportError as error:
        raise MissingExtra(f"--engine ray needs Ray Serve: pip install 'embedsearch[ray]' ({error})") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return serve, application, APP


def _check_shared(options: ServeOptions, applications: list[str], name: str) -> None:
    """Of a cluster where Ray Serve listens already: as it was told then, maybe for everybody."""
    if name in applications:
        raise ServerError(f"expected a cluster without an application {name!r}, found one: end it first")
    if not (Keys(options.keys_file, None).required or options.insecure):
        raise OptionError(
            "expected a key where Ray Serve listens already, maybe for other machines, found none: `embedsearch keys"
            " add NAME`, or --insecure to let everybody search"
        )
    log.warning("Ray Serve runs on the cluster already: it listens where it was told to then")


def _say_if_it_waits(ray: Any, options: RayOptions) -> None:
    n_cpus = ray.cluster_resources().get("CPU", 0)
    wanted = options.cpus / options.replicas[1] * options.replicas[0]
    if n_cpus < wanted:
        log.warning("The replicas want %g cores, the cluster has %g: they wait for more.", wanted, n_cpus)


def _short(error: Exception) -> str:
    """Where Ray puts what went wrong: after the trace of another process, in the last line that is an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception")) and ": " in line]
    return (errors or lines or [type(error).__name__])[-1][:500]


def _why(serve: Any, name: str, error: Exception) -> str:
    """What the deployments that failed say, and where there is more."""
    found = _short(error)
    with suppress(Exception):  # it explains an error, and must not be another
        said = [each.message for each in serve.status().applications[name].deployments.values()]
        found = _short(RuntimeError(next(message for message in said if "Traceback" in message)))
    return f"{found}; more is in logs/worker-*.err of Ray's session folder on the node (/tmp/ray/session_latest)"


def _wait(told: threading.Event) -> None:
    from ray import serve

    n_silent = 0
    while not told.wait(LOOK_SECONDS):
        try:
            serve.status()
            n_silent = 0
        except Exception as error:  # whatever a cluster does that is going
            n_silent += 1
            if n_silent >= MOST_LOOKS:
                raise ServerError(f"expected the cluster to go on, found that it is lost: {_short(error)}") from error
