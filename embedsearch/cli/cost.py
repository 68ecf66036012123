"""What a service will cost, said and asked before anything is sent to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from embedsearch.build import BuildOptions
    from embedsearch.encoders.openai import ServiceEncoder
    from embedsearch.stages.pending import Pending

F = TypeVar("F", bound=Callable[..., Any])


def service_options(function: F) -> F:
    """`sending_options`, --dry-run"""
    dry_run = click.option(
        "--dry-run", is_flag=True, help="Say what there is to embed, and what a service costs, and stop."
    )
    return sending_options(dry_run(function))


def sending_options(function: F) -> F:
    """--base-url, --concurrency, --yes"""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Do not ask before texts are sent to a service."),
        click.option(
            "--concurrency", type=click.IntRange(min=1), default=4, show_default=True, help="Requests at once."
        ),
        click.option(
            "--base-url",
            metavar="URL",
            help="Of a service other than OpenAI's, such as http://localhost:8080/v1; also OPENAI_BASE_URL. The key, if"
            " it wants one, is taken from OPENAI_API_KEY.",
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Give it to a build as `before_embedding`. `paused` is a context in which a question can be seen."""

    yes: bool
    dry_run: bool
    quiet: bool
    paused: Callable[[], AbstractContextManager[None]]

    @contextmanager
    def target(self, corpus: str | None, index: Path, options: BuildOptions) -> Iterator[tuple[str | None, Path, Any]]:
        """(corpus, folder, options) to build with: a dry run changes no index, and makes none that stays."""
        if not self.dry_run:
            yield corpus, index, options
            return
        options = replace(options, ann=None, transform=None)  # which cost nothing, and would be noted in the index
        is_there = (index / "manifest.json").exists()
        if is_there and not options.overwrite:
            yield corpus, index, options
            return
        with TemporaryDirectory(prefix="embedsearch-") as folder:
            yield corpus or (str(index) if is_there else None), Path(folder) / "index", options

    def __call__(self, pending: Pending) -> None:
        """Say what is to be sent. Raises click's Exit to stop there, OptionError where nobody can be asked."""
        from embedsearch.encoders.openai import ServiceEncoder
        from embedsearch.encoders.services import find_key
        from embedsearch.render.tables import counted

        encoder = pending.encoder
        is_service = isinstance(encoder, ServiceEncoder)
        if not is_service and not self.dry_run:
            return
        n_tokens, all_counted = pending.count_tokens()
        if isinstance(encoder, ServiceEncoder):
            if not self.dry_run:
                find_key(encoder.address)  # without which there is nothing to ask about
            lines = _of_service(encoder, pending.n_papers, n_tokens, all_counted)
        else:
            lines = [f"To embed here: {counted(pending.n_papers, 'paper')}, {n_tokens:,} tokens, at no price but time."]
        with self.paused():
            if self.dry_run or not self.quiet or not self.yes:
                click.echo("\n".join(lines), err=not self.dry_run)
            if self.dry_run:
                click.echo("A dry run: nothing was sent or kept.", err=True)
                raise click.exceptions.Exit(0)
            if not self.yes:
                _ask()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask() -> None:
    from embedsearch.errors import OptionError

    if not _is_terminal():
        raise OptionError("expected a yes to sending these texts, found no terminal to ask at: repeat it with --yes")
    if not click.confirm("Send them?", err=True):
        click.echo("Nothing was sent. The papers are kept: the same command asks again.", err=True)
        raise click.exceptions.Exit(0)


def _of_service(encoder: ServiceEncoder, n_papers: int, n_tokens: int, all_counted: bool) -> list[str]:
    from embedsearch.cli.terminal import duration
    from embedsearch.encoders.services import PRICES_AS_OF, SERVICE_MODELS, TOKENS_A_MINUTE, estimate
    from embedsearch.render.tables import counted

    papers = counted(n_papers, "paper")
    exact = all_counted and encoder.tokens.exact
    found = estimate(encoder.model, encoder.address, n_texts=n_papers, n_tokens=n_tokens, exact=exact)
    how = "counted by tiktoken" if exact else "estimated" + (" from their bytes" if not encoder.tokens.exact else "")
    lines = [f"To send to {encoder.address.host} for {encoder.model}: {papers}, {n_tokens:,} tokens ({how})."]
    if found.usd is None:
        lines.append("Price: not known here; it is the service's to say.")
    else:
        price = f"about ${found.usd:,.2f}" if found.usd >= 0.01 else "less than $0.01"
        rate = SERVICE_MODELS[encoder.model].price
        lines.append(f"Price: {price}, at OpenAI's ${rate:.2f} for a million tokens, as of {PRICES_AS_OF}.")
    if found.seconds is None:
        lines.append("Time: not known before the service answers.")
    else:
        limit = f"the {TOKENS_A_MINUTE:,} tokens a minute that OpenAI allows a new account"
        time = f"about {duration(found.seconds)}" if found.seconds >= 60 else "less than a minute"
        lines.append(f"Time: {time}, at {limit}.")
    return lines
