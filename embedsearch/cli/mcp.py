"""embedsearch mcp"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from embedsearch.cli.options import compute_options, index_option, is_quiet, message_options

if TYPE_CHECKING:
    from embedsearch.client import Client
    from embedsearch.search import Searcher

HTTP_ALONE = ("host", "port", "insecure", "allowed_hosts")


@click.command(name="mcp")
@index_option
@click.option(
    "--url",
    envvar="EMBEDSEARCH_URL",
    metavar="URL",
    help="Ask this server, not a folder; its key: EMBEDSEARCH_API_KEY.",
)
@click.option("--model", metavar="NAME", help="What made the vectors, where the index does not know.")
@click.option("--http", "over_http", is_flag=True, help="Listen for HTTP; otherwise standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free one.")
@click.option("--insecure", is_flag=True, help="Listen for other machines, which need no key.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which the server is asked, beside localhost. May be repeated.",
)
@compute_options
@message_options
@click.pass_context
def command(
    ctx: click.Context,
    index: Path,
    url: str | None,
    model: str | None,
    over_http: bool,
    host: str,
    port: int,
    insecure: bool,
    allowed_hosts: tuple[str, ...],
    device: str,
    dtype: str,
    token_budget: int | None,
) -> None:
    """Let agents search: the Model Context Protocol, over standard input and output or over HTTP.

    The tools are search_papers, similar_papers and get_paper; the model is loaded at the first search.

    Agents that run this command themselves need nothing but its name:
    {"command": "embedsearch", "args": ["mcp", "--index", "/path/to/index"]}.
    """
    given = [name for name in HTTP_ALONE if _is_given(ctx, name)]
    if given and not over_http:
        raise click.UsageError(f"Expected --http with {', '.join(_option(name) for name in given)}.")
    if url and _is_given(ctx, "index"):
        raise click.UsageError("Expected --index or --url, and not both.")
    from embedsearch.encoders import Compute
    from embedsearch.integrations.mcp import make_server

    _log_to_stderr()
    compute = Compute(device=device, dtype=dtype, token_budget=token_budget)
    server = make_server(_opened(index, url, model=model, compute=compute))
    if over_http:
        _over_http(server, host=host, port=port, insecure=insecure, allowed_hosts=allowed_hosts)
    else:
        _over_stdio(server)


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _option(name: str) -> str:
    return "--allow-host" if name == "allowed_hosts" else f"--{name}"


def _opened(index: Path, url: str | None, *, model: str | None, compute: Any) -> Searcher | Client:
    if url:
        from embedsearch.client import Client

        return Client(url)
    from embedsearch.search import Searcher

    return Searcher.open(index, model=model, compute=compute)


def _log_to_stderr() -> None:
    """What the protocol's libraries say; standard output is the protocol's. Ours goes there already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: not record.name.startswith("embedsearch"))
    logging.getLogger().addHandler(handler)


def _over_stdio(server: Any) -> None:
    if sys.stdin.isatty() and not is_quiet():
        click.echo("Waiting for an agent on standard input; Ctrl-D ends.", err=True)
    # A thread waits for input, and nothing can wake it: only so does the process end. There is nothing to be saved.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    server.run("stdio")


def _over_http(server: Any, *, host: str, port: int, insecure: bool, allowed_hosts: tuple[str, ...]) -> None:
    from embedsearch.errors import OptionError
    from embedsearch.integrations.mcp import run_http
    from embedsearch.server.listening import address, listen
    from embedsearch.server.options import LOOPBACK

    if host not in LOOPBACK and not insecure:
        raise OptionError(
            f"expected a host of {', '.join(LOOPBACK)}, since this server knows no keys, found {host}: put a proxy that"
            " does before it, or say --insecure"
        )
    with listen(host, port) as free:  # the library that listens would say less of what is wrong
        port, where = free.getsockname()[1], address(free)
    click.echo(f"Listening on {where}/mcp", err=True)
    # uvicorn finishes what is under way, and then raises the signal once more
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run_http(server, host=host, port=port, allowed_hosts=allowed_hosts)
