"""embedsearch serve"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from embedsearch.cli.keys import default_file, keys_option
from embedsearch.cli.options import compute_options, index_option, message_options

COUNT = click.IntRange(min=1)


class _Seconds(click.FloatRange):
    """Which neither NaN nor infinity is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


SECONDS = _Seconds(min=0, min_open=True)


def limit_options(function: Any) -> Any:
    """The bounds of one request, and how queries share a pass; see Limits and Batching."""
    for name, parameter, kind, default, help in reversed(
        [
            ("--max-k", "max_k", COUNT, 1000, "Most papers that a request may ask for."),
            ("--max-text", "max_text", COUNT, 10_000, "Most characters of a text."),
            ("--max-texts", "max_texts", COUNT, 256, "Most texts of a request."),
            ("--max-body", "max_body", COUNT, 1 << 20, "Most bytes of a request's body."),
            ("--max-connections", "max_connections", COUNT, 512, "Most open connections, of each worker."),
            ("--queue", "queue", COUNT, 256, "Most requests that wait, of each worker; the next gets 503."),
            ("--time-limit", "time_limit", SECONDS, 30.0, "Seconds to an answer; then 504."),
            ("--receive-limit", "receive_limit", SECONDS, 15.0, "Seconds for a request to arrive; then 408."),
            ("--drain", "drain", SECONDS, 30.0, "Seconds for what is under way when the server is told to end."),
            ("--batch", "batch", COUNT, 64, "Most queries in a pass of the model; 1: each alone."),
            ("--cache", "cache", click.IntRange(min=0), 10_000, "Queries whose vectors are kept."),
        ]
    ):
        function = click.option(name, parameter, type=kind, default=default, show_default=True, help=help)(function)
    return function


def ray_options(function: Any) -> Any:
    """--engine ray, and what it takes; see RayOptions."""
    for option in reversed(
        [
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help="Where it runs: here, or on a Ray cluster.",
            ),
            click.option("--address", metavar="HOST:PORT", help="Ray: the cluster. [default: one on this machine]"),
            click.option("--parts", type=COUNT, help="Ray: processes over which the vectors are spread. [default: 1]"),
            click.option(
                "--replicas", metavar="MIN:MAX", help="Ray: of the server and of each part, by load. [default: 1]"
            ),
            click.option(
                "--cpus-per-replica", type=click.FloatRange(min=0), metavar="X", help="Ray: cores of each. [default: 1]"
            ),
        ]
    ):
        function = option(function)
    return function


@click.command(name="serve")
@index_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others need keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--workers", type=COUNT, default=1, show_default=True, help="Processes.")
@click.option(
    "--model", metavar="NAME", help="What made the vectors, where the index does not know: it embeds queries."
)
@keys_option
@click.option("--public-read", is_flag=True, help="Search needs no key although there are keys.")
@click.option(
    "--day/--no-day",
    "show_day",
    default=None,
    help="Show the list of `embedsearch today` in the page: it tells what you like. [default: not to strangers]",
)
@click.option("--insecure", is_flag=True, help="Listen for other machines although there is no key.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which the server is asked, beside localhost. May be repeated.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json", "none"]),
    default="text",
    show_default=True,
    help="A line for each request; none: messages alone.",
)
@ray_options
@limit_options
@compute_options
@message_options
@click.pass_context
def command(
    context: click.Context,
    /,
    index: Path,
    host: str,
    port: int,
    workers: int,
    model: str | None,
    keys_file: Path | None,
    public_read: bool,
    show_day: bool | None,
    insecure: bool,
    allowed_hosts: tuple[str, ...],
    log_format: str,
    engine: str,
    address: str | None,
    parts: int | None,
    replicas: str | None,
    cpus_per_replica: float | None,
    device: str,
    dtype: str,
    token_budget: int | None,
    **limits: Any,
) -> None:
    """Answer searches over HTTP: an API under /v1, and a page at /.

    The index is looked at all the time: a new generation is opened and takes over without a request lost. A key of
    EMBEDSEARCH_API_KEY may read; see `embedsearch keys` for more.

    With --engine ray the server runs on a cluster, in as many replicas as the load asks for; --parts spreads the
    vectors over processes, for an index that no machine holds. All nodes must know the index under the same path.
    """
    of_ray = {"address": address, "parts": parts, "replicas": replicas, "cpus_per_replica": cpus_per_replica}
    _check_engine(context, engine, of_ray)
    try:
        from embedsearch.server.run import serve
    except ImportError as error:
        raise _missing(error) from error
    from embedsearch.encoders import Compute
    from embedsearch.server.options import Batching, Limits, ServeOptions

    run = _on_ray(of_ray) if engine == "ray" else serve
    run(
        ServeOptions(
            index=index,
            model=model,
            compute=Compute(device=device, dtype=dtype, token_budget=token_budget),
            host=host,
            port=port,
            workers=workers,
            keys_file=keys_file or (default_file() if default_file().exists() else None),
            public_read=public_read,
            show_day=show_day,
            insecure=insecure,
            allowed_hosts=allowed_hosts,
            log_format=log_format,
            limits=Limits(
                k=limits["max_k"],
                text=limits["max_text"],
                n_texts=limits["max_texts"],
                body=limits["max_body"],
                connections=limits["max_connections"],
                queue=limits["queue"],
                seconds=limits["time_limit"],
                receive_seconds=limits["receive_limit"],
                drain_seconds=limits["drain"],
            ),
            batching=Batching(max_texts=limits["batch"], cached_queries=limits["cache"]),
        )
    )


NOT_OF_RAY = {
    "workers": "Ray starts processes as --replicas says",
    "max_connections": "Ray Serve's proxy takes the connections",
}


def _check_engine(context: click.Context, engine: str, of_ray: dict[str, Any]) -> None:
    """Raise a usage error for an option that the engine does not know."""
    if engine == "ray":
        for name, why in NOT_OF_RAY.items():
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"Expected no --{name.replace('_', '-')} beside --engine ray: {why}.")
        return
    named = [f"--{name.replace('_', '-')}" for name, value in of_ray.items() if value is not None]
    if named:
        raise click.UsageError(f"Expected --engine ray beside {named[0]}.")


def _on_ray(of_ray: dict[str, Any]) -> Callable[[Any], None]:
    """What serves on a cluster."""
    from embedsearch.server.options import RayOptions
    from embedsearch.server.ray_serve import serve_on_ray

    given = {name: value for name, value in of_ray.items() if value is not None}
    if "replicas" in given:
        given["replicas"] = _range(given["replicas"])
    return functools.partial(serve_on_ray, ray_options=RayOptions(**given))


def _range(text: str) -> tuple[int, int]:
    """MIN:MAX, or N for both."""
    least, colon, most = text.partition(":")
    if not (least.isdecimal() and (most.isdecimal() or not colon)):
        raise click.UsageError(f"Expected --replicas as N or MIN:MAX, found {text!r}.")
    return int(least), int(most or least)


def _missing(error: ImportError) -> Exception:
    """What to install, where it is one of the server's libraries that is not here; else the error itself."""
    from embedsearch.errors import EmbedsearchError, MissingExtra

    if isinstance(error, EmbedsearchError) or (error.name or "").startswith("embedsearch"):
        return error
    return MissingExtra(f"expected the server's libraries, found no {error.name}: pip install 'embedsearch[serve]'")
