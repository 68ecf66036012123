"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from embedsearch.build import BuildOptions

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_INDEX = "indexes/default"

COMPUTE = ("device", "dtype", "token_budget", "concurrency")
"""The options that a Compute is made of."""


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


def engine_options(function: F) -> F:
    """--devices, --drop, --engine and what Ray is told: what `building.engine_of` takes"""
    for option in (
        click.option(
            "--gpus-per-actor",
            type=click.FloatRange(min=0),
            metavar="X",
            help="Ray: GPUs of each, also 0.5. [default: 0]",
        ),
        click.option(
            "--cpus-per-actor", type=click.FloatRange(min=0), metavar="X", help="Ray: cores of each. [default: 1]"
        ),
        click.option(
            "--num-actors",
            type=click.IntRange(min=1),
            help="Ray: encoders at work. [default: as many as there is room for]",
        ),
        click.option("--address", metavar="HOST:PORT", help="Ray: the cluster. [default: one on this machine]"),
        click.option(
            "--engine",
            "engine_name",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Where shards are embedded: here, or by actors of a Ray cluster.",
        ),
        click.option(
            "--drop",
            metavar="URL",
            help="Where shards are handed in: a folder, or s3:// and the like. [default: the folder of the index]",
        ),
        click.option("--devices", metavar="LIST", help="Several devices of this machine at once: cuda:0,cuda:1."),
    ):
        function = option(function)
    return function


def model_options(function: F) -> F:
    """--model and how it is used: what `building.model_spec` takes"""
    for option in (
        click.option(
            "--trust-remote-code", is_flag=True, help="Run code that comes with a model. Off unless you say so."
        ),
        click.option("--max-tokens", type=click.IntRange(min=1), help="Longer texts are cut here, and counted."),
        click.option("--document-prompt", help="Put before each paper; default: as the model states."),
        click.option("--query-prompt", help="Put before each query; default: as the model states."),
        click.option(
            "--pooling",
            type=click.Choice(["mean-without-bos", "mean", "cls", "last-token"]),
            help="How tokens become one vector; default: as the model states.",
        ),
        click.option("--revision", help="Commit, tag or branch of a hub model."),
        click.option(
            "--model",
            envvar="EMBEDSEARCH_MODEL",
            metavar="NAME",
            help="A named model (see `embedsearch models`), a folder, a GGUF file, a hub id, or openai:NAME for a model"
            " of a service. [default: minilm]",
        ),
    ):
        function = option(function)
    return function


def corpus_options(function: F) -> F:
    """Which papers are taken, and what is made of them: what `building.build_options` takes"""
    for option in (
        click.option(
            "--dtype-stored",
            type=click.Choice(["float16", "float32"]),
            help="Of the stored vectors. [default: float16; of a file that embed writes, float32]",
        ),
        click.option("--transform", metavar="KIND", help="center, whiten:K, remove-top:K, truncate:D, or none."),
    ):
        function = option(function)
    return paper_options(function)


def paper_options(function: F) -> F:
    """Which papers are taken, and the text of each: what `chosen` takes"""
    for option in (
        click.option("--template", metavar="TEXT", help="What is taken of a paper as its text. [default: {abstract}]"),
        click.option("--seed", type=int, default=0, show_default=True, help="Of the sample."),
        click.option(
            "--sample",
            type=click.IntRange(min=1),
            metavar="N",
            help="Take N papers at random, the same ones each time.",
        ),
    ):
        function = option(function)
    return reading_options(function)


def reading_options(function: F) -> F:
    """How a file of papers is read, and up to where: the part of `paper_options` that holds of any file"""
    for option in (
        click.option("--strict", is_flag=True, help="A paper without an abstract is an error, not left out."),
        click.option(
            "--field",
            "fields",
            multiple=True,
            metavar="OURS=THEIRS",
            help="A column by another name: abstract=summary. May be repeated.",
        ),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N papers."),
        click.option("--until", metavar="DATE", help="Only papers up to this day, month or year."),
        click.option("--since", metavar="DATE", help="Only papers from this day, month or year on."),
        click.option(
            "--category",
            multiple=True,
            metavar="PATTERN",
            help="Only papers in such a category: 'astro-ph*'. May be repeated.",
        ),
    ):
        function = option(function)
    return function


def chosen(
    *,
    category: tuple[str, ...],
    since: str | None,
    until: str | None,
    fields: Sequence[str],
    **others: Any,
) -> BuildOptions:
    """The values of `paper_options` by name, as a corpus is read with."""
    from embedsearch.build import BuildOptions
    from embedsearch.corpus import Selection

    selection = Selection(categories=category, since=since, until=until)
    return BuildOptions(selection=selection, fields=parse_fields(fields), **others)


def is_file(text: str) -> bool:
    """Whether an argument names a file."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long or with a NUL: certainly no name of a file
        return False


def parse_fields(fields: Sequence[str], *, option: str = "--field") -> dict[str, str]:
    """OURS=THEIRS of the command line as a mapping; a usage error for anything else."""
    for field in fields:
        if "=" not in field:
            raise click.BadParameter(f"expected OURS=THEIRS, found {field!r}", param_hint=option)
    return {ours: theirs for ours, _, theirs in (field.partition("=") for field in fields)}


class _ToStderr(logging.Handler):
    """A line on stderr, whichever stream that is at the time. Keys and names in it are other people's."""

    def emit(self, record: logging.LogRecord) -> None:
        from embedsearch.render.tables import printable

        click.echo("\n".join(map(printable, self.format(record).split("\n"))), err=True)


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
