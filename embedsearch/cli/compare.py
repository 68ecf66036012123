"""embedsearch compare"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import DEFAULT_INDEX, format_option, is_quiet, message_options
from embedsearch.cli.spaces import PairDisplay, open_spaces, sample_options, split_transform

if TYPE_CHECKING:
    from embedsearch.pairs.compare.known_items import KnownItems
    from embedsearch.store.space import Space


@click.command(name="compare")
@click.argument("spaces", nargs=-1, metavar="[SPACE]...")
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    envvar="EMBEDSEARCH_INDEX",
    metavar="DIR",
    help=f"The index that knows the papers' categories, where the spaces do not; compared alone where no SPACE is"
    f" given. [default: {DEFAULT_INDEX}]",
)
@sample_options
@click.option(
    "--known-items/--no-known-items",
    default=None,
    help="Whether titles look for their abstracts, which loads each index's model. [default: where it is here]",
)
@click.option(
    "--titles", type=click.IntRange(min=2), default=500, show_default=True, help="How many titles look for theirs."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Figure to write: .png, .pdf or .svg. Every number is written beside it, as .json.",
)
@format_option("table", "json", "csv", "latex")
@message_options
def command(
    spaces: tuple[str, ...],
    index: Path | None,
    sample: str | None,
    seed: int,
    transform: str | None,
    fields: tuple[str, ...],
    fast: bool,
    device: str,
    known_items: bool | None,
    titles: int,
    out: Path | None,
    format_: str | None,
) -> None:
    """Measure one or more embedding spaces on the same papers.

    SPACE is an index or a file of vectors with ids. Each alone, raw and centred: mean, spread and quantiles of the
    cosines of all pairs, effective rank, how well categories are told apart, how well titles find their abstracts,
    hubness. Each beside the first: correlation, CKA, shared neighbours, and the differences with their errors.
    """
    from embedsearch import plots
    from embedsearch.pairs.compare import Options, compare
    from embedsearch.pairs.compare.categories import primary_categories
    from embedsearch.render import comparison as compare_tables
    from embedsearch.store.atomic import write_bytes

    if out is not None:
        plots.check_figure_path(out)
    paths = spaces or (str(index or DEFAULT_INDEX),)
    opened = open_spaces(paths, sample=sample, seed=seed, transform=transform, fields=fields).spaces
    folders = [Path(split_transform(path)[0]) for path in paths]
    queries, notes = _titles(folders, opened, known_items, titles)
    categories = primary_categories(opened[0].ids, _stores([*folders, index or Path(DEFAULT_INDEX)]))
    if not any(categories):
        notes.append("no categories: name an index that knows these papers with --index")
    options = Options(seed=seed, fast=fast, device=device)
    with PairDisplay() as display:
        display.forecast(opened, n_passes=PASSES, fast=fast, device=device)
        found = compare(
            opened, categories=categories, titles=queries, options=options, notes=notes,
            progress=display.begin("comparing"),
        )  # fmt: skip
    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]])}
    if out is not None:
        from embedsearch.plots.comparison import comparison_figure

        plots.save_figure(comparison_figure(found), out)
        write_bytes(out.with_suffix(".json"), compare_tables.to_text(found, "json", about=about).encode())
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(compare_tables.to_text(found, format_ or "table", about=about, width=width), nl=False)
    if not is_quiet():
        for note in notes:
            click.echo(f"Not measured: {note}.", err=True)
        if out is not None:
            click.echo(f"{out}; every number: {out.with_suffix('.json')}", err=True)


PASSES = 30
"""Scans that a comparison takes as long as, raw and centred, searching neighbours and halving included."""


def _stores(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in dict.fromkeys(folders) if (folder / "manifest.json").exists()]


def _titles(
    folders: Sequence[Path], spaces: Sequence[Space], wanted: bool | None, n: int
) -> tuple[list[KnownItems | None], list[str]]:
    """The titles as queries in each space that can have them, and why others cannot."""
    from embedsearch.errors import MissingExtra, ModelNotFound, RecipeMismatch
    from embedsearch.pairs.compare.known_items import known_items, model_is_here

    found: list[KnownItems | None] = []
    notes = []
    for folder, space in zip(folders, spaces, strict=True):
        found.append(None)
        if wanted is False:
            continue
        if not (folder / "manifest.json").exists():
            notes.append(f"MRR of {space.label}: a file has no model to encode titles with")
        elif not wanted and not model_is_here(folder):
            notes.append(f"MRR of {space.label}: its model is not here, --known-items fetches it")
        else:
            if not is_quiet():
                click.echo(f"Encoding {n:,} titles with {space.model_name}.", err=True)
            try:
                found[-1] = known_items(folder, space, n_titles=n)
            except (ModelNotFound, MissingExtra, RecipeMismatch) as error:
                notes.append(f"MRR of {space.label}: {error}")
    return found, notes
