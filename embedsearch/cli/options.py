"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_INDEX = "indexes/default"


def index_option(function: F) -> F:
    """--index DIR"""
    return click.option(
        "--index",
        type=click.Path(path_type=Path),
        default=DEFAULT_INDEX,
        show_default=True,
        envvar="EMBEDSEARCH_INDEX",
        metavar="DIR",
        help="Folder of the index.",
    )(function)


def compute_options(function: F) -> F:
    """--device, --dtype, --token-budget"""
    for option in (
        click.option(
            "--token-budget", type=click.IntRange(min=1), help="Tokens in a batch; default: what suits the device."
        ),
        click.option(
            "--dtype",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            envvar="EMBEDSEARCH_DTYPE",
            help="Precision of the model; auto: bfloat16 where the hardware has it.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            envvar="EMBEDSEARCH_DEVICE",
            metavar="auto|cpu|cuda|cuda:N|mps",
            help="Where the model runs.",
        ),
    ):
        function = option(function)
    return function


class _ToStderr(logging.Handler):
    """A line on stderr, whichever stream that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def message_options(function: F) -> F:
    """-v, -q: how much is told on stderr. Takes effect as it is parsed; a command does not see it."""

    def set_level(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            logging.getLogger("embedsearch").setLevel(logging.DEBUG if parameter.name == "verbose" else logging.ERROR)

    logger = logging.getLogger("embedsearch")
    if not logger.handlers:
        logger.addHandler(_ToStderr())
        logger.setLevel(logging.WARNING)
    for option in (
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=set_level, help="Say less."),
        click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=set_level, help="Say more."),
    ):
        function = option(function)
    return function


def is_quiet() -> bool:
    """Whether -q was given."""
    return logging.getLogger("embedsearch").getEffectiveLevel() > logging.WARNING


def format_option(*formats: str) -> Callable[[F], F]:
    """--format, one of `formats`."""

    def decorate(function: F) -> F:
        return click.option("--format", "format_", type=click.Choice(formats), help="Form of the output.")(function)

    return decorate
