"""embedsearch duplicates"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import format_option, index_option, is_quiet, message_options

if TYPE_CHECKING:
    from embedsearch.duplicates import Duplicates

SHOWN = 50
FORMATS = ("table", "json", "csv")


@click.command(name="duplicates")
@index_option
@click.option(
    "--min-cosine",
    type=float,
    default=0.95,
    show_default=True,
    metavar="X",
    help="Two papers are nearly the same from this cosine on.",
)
@click.option(
    "-n",
    "n",
    type=click.IntRange(min=0),
    default=SHOWN,
    show_default=True,
    help="Pairs to show, the closest; 0: all.",
)
@click.option(
    "--category", multiple=True, metavar="PATTERN", help="Only papers in such a category: 'astro-ph*'. May be repeated."
)
@click.option("--groups", is_flag=True, help="Groups of papers that pairs join, in place of the pairs.")
@click.option(
    "--exact",
    is_flag=True,
    help="Look at all pairs also where there are more than 100,000 papers and the index is approximate.",
)
@click.option(
    "--center/--no-center",
    default=None,
    help="Whether cosines are about the mean of all papers. [default: where any two papers are alike]",
)
@click.option("--same-title", is_flag=True, help="Also pairs of the same title, whatever their cosine.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write them there: .json, .csv, or another --format.",
)
@format_option(*FORMATS)
@message_options
def command(
    index: Path,
    min_cosine: float,
    n: int,
    category: tuple[str, ...],
    groups: bool,
    exact: bool,
    center: bool | None,
    same_title: bool,
    out: Path | None,
    format_: str | None,
) -> None:
    """Find papers that are nearly the same: one work under two ids, series, a thesis and its papers.

    Pairs whose cosine is at least X, closest first: of what kind each is, and the words in which the abstracts differ.
    """
    from embedsearch.cli.evaluating import EvaluateDisplay
    from embedsearch.duplicates import find_duplicates
    from embedsearch.render import duplicates as texts
    from embedsearch.store.atomic import check_writable, write_bytes
    from embedsearch.store.filters import Filters

    format_ = format_ or _format_of(out)
    if not 0 < min_cosine <= 1:
        raise click.UsageError(f"Expected a --min-cosine above 0 and at most 1, found {min_cosine}.")
    if out is not None:
        check_writable(out)  # before minutes of work
    with EvaluateDisplay() as display:
        found = find_duplicates(
            index,
            min_cosine=min_cosine,
            n=n or None,
            filters=Filters(categories=category),
            exact=exact,
            center=center,
            same_title=same_title,
            progress=display,
        )
    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]])}
    if out is not None:
        write_bytes(out, _text(found, format_, groups, about).encode())
    elif format_ == "table":
        from embedsearch.cli.terminal import make_console, show

        console = make_console()
        made = texts.groups_text if groups else texts.pairs_text
        show(made(found, links=console.is_terminal), console=console)
    else:
        click.echo(texts.to_text(found, format_, groups=groups, about=about), nl=False)
    if not is_quiet():
        for line in (texts.summary(found), *(f"Note: {note}." for note in found.notes)):
            click.echo(line, err=True)


def _format_of(out: Path | None) -> str:
    """By its suffix, where none is named."""
    suffix = "" if out is None else out.suffix.lower().removeprefix(".")
    return suffix if suffix in FORMATS else "table"


def _text(found: Duplicates, format_: str, groups: bool, about: dict[str, str]) -> str:
    from embedsearch.render import duplicates as texts

    if format_ != "table":
        return texts.to_text(found, format_, groups=groups, about=about)
    from rich.console import Console

    console = Console(width=100, color_system=None, markup=False, highlight=False)
    with console.capture() as captured:
        console.print((texts.groups_text if groups else texts.pairs_text)(found, links=False))
    return captured.get()
