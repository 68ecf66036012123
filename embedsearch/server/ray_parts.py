"""What runs on a Ray cluster: the server's application, and the parts of its store, as deployments of Ray Serve."""

from __future__ import annotations

import logging
import logging.config
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedsearch.encoders import Encoder
from embedsearch.errors import EmbedsearchError, Overloaded
from embedsearch.search.parts import Call, Part, PartedView
from embedsearch.search.view import StoreView
from embedsearch.server.app import create_app
from embedsearch.server.engine import Engine
from embedsearch.server.logs import log_config
from embedsearch.server.options import RayOptions, ServeOptions
from embedsearch.server.starting import StartingWorker

APP = "embedsearch"
"""The application's name on the cluster."""

ANSWER_SECONDS = 15.0
"""So long an answer of a part is waited for, the time in which one that died is started again with it; then 503."""
START_SECONDS = 300.0
"""The same at the start, while a part may still have to get its place and to read its files."""
PAUSE = 0.05
"""Seconds before a part that died under a question is asked again."""
RETRY_AFTER = 5
WAITING_THREADS = 8
"""Of a replica that asks parts: its threads mostly wait for them."""

ASKS_BY_GRPC = {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"}
"""Of those who ask parts: three at once answer in 6 ms instead of 13, on two cores. Ray's replicas take both ways."""

CHECK_SECONDS = 1.0
"""Between two looks at a replica: who died is replaced so soon after."""
CHECK_LIMIT = 30.0
"""A replica that is silent for so long does not live."""
ONGOING = 4.0
"""Requests at work in a replica above which there is one more: what one process answers at once is little more."""
MOST_OF_A_PART = 64
"""Questions that a part takes at once; the others wait before it."""
SPARE = 64
"""Requests that a replica takes beyond those that wait in it, so that it is the one to say that they are too many."""


class PartReplica(Part):
    """A part, whose health Ray Serve asks for."""

    def check_health(self) -> None:
        """Raises where no vector can be read."""
        self.check()


class RayParts:
    """The parts on the cluster, as a replica asks them. Thread-safe; not for an event loop.

    A part that dies under a question is asked again, once it lives, within `seconds`. Raises Overloaded after that.
    """

    def __init__(self, handles: Sequence[Any], *, seconds: float = ANSWER_SECONDS) -> None:
        self.n_parts = len(handles)
        self._handles = handles
        self._seconds = seconds

    def ask(self, calls: Sequence[Call], *, patient: bool = False) -> list[Any]:
        """See Parts."""
        deadline = time.monotonic() + (START_SECONDS if patient else self._seconds)
        asked = [self._send(call) for call in calls]
        try:
            return [self._answer(call, response, deadline) for call, response in zip(calls, asked, strict=True)]
        except BaseException:
            for response in asked:
                with suppress(Exception):  # nobody waits for it any more, whatever becomes of it
                    response.cancel()
            raise

    def _send(self, call: Call) -> Any:
        return getattr(self._handles[call.part], call.method).remote(*call.arguments)

    def _answer(self, call: Call, response: Any, deadline: float) -> Any:
        while True:
            try:
                return response.result(timeout_s=max(0.0, deadline - time.monotonic()))
            except RayTaskError as error:
                if isinstance(error.cause, EmbedsearchError):
                    raise error.cause from None
                raise
            except TimeoutError:
                raise self._missing(call) from None
            except (RayActorError, RayServeException):  # it died, or ends
                if time.monotonic() + PAUSE > deadline:
                    raise self._missing(call) from None
                time.sleep(PAUSE)
                response = self._send(call)

    def _missing(self, call: Call) -> Overloaded:
        return Overloaded(
            f"expected all {self.n_parts} parts of the index, found no answer of part {call.part + 1}: try again in a"
            " moment",
            retry_after=RETRY_AFTER,
        )


class _Behind(StartingWorker):
    """An application behind Ray Serve's proxy, which gives each request its id, if it has none, and answers with it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io."""

        async def without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                message = {**message, "headers": headers}
            await send(message)

        await super().__call__(scope, receive, without_id)


def application(options: ServeOptions, ray_options: RayOptions, *, encoder: Encoder | None = None) -> Any:
    """What `serve.run` takes. `options.index` is a path that all nodes know; `encoder` stands in for the store's."""
    parts = []
    if ray_options.parts > 1:
        for part in range(ray_options.parts):
            told = serve.deployment(name=_name(part), max_ongoing_requests=MOST_OF_A_PART, **_shared(ray_options))
            parts.append(told(PartReplica).bind(options.index, part, ray_options.parts))
    told = serve.deployment(
        name="server",
        max_ongoing_requests=options.limits.queue + SPARE,
        graceful_shutdown_timeout_s=options.limits.drain_seconds,
        **_shared(ray_options, env=ASKS_BY_GRPC if parts else None),
    )
    return told(serve.ingress(_builder(options, ray_options.parts, encoder))()).bind(*parts)


def _name(part: int) -> str:
    return f"part-{part + 1}"


def _shared(options: RayOptions, *, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What a deployment is told, of the server and of a part."""
    least, most = options.replicas
    scaling: dict[str, Any] = {"num_replicas": least}
    if most > least:
        scaling = {
            "autoscaling_config": {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": ONGOING}
        }
    return scaling | {
        "ray_actor_options": {
            "num_cpus": options.cpus_per_replica,
            **({"runtime_env": {"env_vars": env}} if env else {}),
        },
        "health_check_period_s": CHECK_SECONDS,
        "health_check_timeout_s": CHECK_LIMIT,
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
    }


def _builder(options: ServeOptions, n_parts: int, encoder: Encoder | None) -> Callable[[], ASGIApp]:
    """What makes the application, in each replica."""

    def build() -> ASGIApp:
        logging.config.dictConfig(log_config(options.log_format, level=logging.INFO))
        if n_parts == 1:
            return _Behind(create_app(options, engine=Engine(options, encoder=encoder)))
        handles = [serve.get_deployment_handle(_name(part), app_name=APP) for part in range(n_parts)]
        made = partial(PartedView, parts=RayParts(handles))
        open_view = partial(StoreView.open, make=made)
        engine = Engine(options, encoder=encoder, open_view=open_view, search_threads=WAITING_THREADS)
        return _Behind(create_app(options, engine=engine))

    return build
