"""embedsearch divergent-pairs"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import format_option, index_option, message_options
from embedsearch.cli.spaces import sample_options

if TYPE_CHECKING:
    from embedsearch.cli.divergent_work import Answer


@click.command(name="divergent-pairs")
@click.argument("ids", nargs=-1, metavar="[ID ID]")
@index_option
@click.option(
    "--against", required=True, metavar="SPACE", help="The other space: an index, or a file of vectors with ids."
)
@click.option("-n", "n", type=click.IntRange(min=1), default=10, show_default=True, help="Pairs of each direction.")
@click.option(
    "--by",
    type=click.Choice(["rank", "conditional", "raw"]),
    default="rank",
    show_default=True,
    help="Difference of percentiles; how improbable the other cosine is beside the index's; difference of cosines.",
)
@click.option(
    "--per-paper",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="A paper occurs in at most N pairs of a list; 0: in any number.",
)
@click.option("--min-cosine", type=float, metavar="X", help="Only pairs with this cosine where they are found closer.")
@click.option(
    "--category", multiple=True, metavar="PATTERN", help="Only papers in such a category: 'astro-ph*'. May be repeated."
)
@click.option(
    "--null",
    "with_null",
    is_flag=True,
    help="Beside it the same for one model on two halves of each abstract; encodes them with the index's model.",
)
@click.option("--pairs", "pairs_file", metavar="FILE", help="These pairs instead: two ids a line; - is standard input.")
@click.option("--paper", is_flag=True, help="The two pairs of the AstroLLaMA paper, beside its figures.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a figure (.png, .pdf, .svg) or a page (.md, .html) to show to others.",
)
@format_option("table", "json", "csv", "latex")
@sample_options
@message_options
def command(
    ids: tuple[str, ...],
    index: Path,
    against: str,
    n: int,
    by: str,
    per_paper: int,
    min_cosine: float | None,
    category: tuple[str, ...],
    with_null: bool,
    pairs_file: str | None,
    paper: bool,
    out: Path | None,
    format_: str | None,
    sample: str | None,
    seed: int,
    transform: str | None,
    fields: tuple[str, ...],
    fast: bool,
    device: str,
) -> None:
    """Find the pairs of papers on which two models disagree most, in both directions.

    With two IDs, --pairs or --paper: what both models make of those pairs.
    """
    if len(ids) not in (0, 2):
        raise click.UsageError(f"Expected two ids of papers, or none, found {len(ids)}.")
    if bool(ids) + bool(pairs_file) + paper > 1:
        raise click.UsageError("Expected one of two ids, --pairs and --paper.")
    if (ids or pairs_file or paper) and (category or min_cosine is not None):
        raise click.UsageError("--category and --min-cosine narrow a search; pairs were named.")
    if min_cosine is not None and not -1 <= min_cosine <= 1:
        raise click.UsageError(f"Expected a --min-cosine from -1 to 1, found {min_cosine}.")
    from embedsearch.cli.divergent_work import TwoSpaces, check_out
    from embedsearch.pairs.divergent import Search

    check_out(out)
    two_spaces = TwoSpaces(
        index=str(index), against=against, sample=sample, seed=seed, transform=transform, fields=fields, fast=fast,
        device=device,
    )  # fmt: skip
    search = Search(measure=by, n=n, per_paper=per_paper or None, min_cosine=min_cosine, categories=category)
    named = (ids[0], ids[1]) if ids else None
    answer = two_spaces.answer(search, named=named, pairs_file=pairs_file, paper=paper, with_null=with_null)
    if out is not None:
        _write(answer, out)
    if out is None or format_ is not None:
        _show(answer, format_ or "table")


def _write(answer: Answer, out: Path) -> None:
    from embedsearch.cli.divergent_work import FIGURES
    from embedsearch.cli.options import is_quiet
    from embedsearch.render import pair_pages
    from embedsearch.store.atomic import write_bytes

    if out.suffix.lower() in FIGURES:
        from embedsearch.plots.pairs import save_pairs

        save_pairs(answer.result, out)
    else:
        page = pair_pages.to_html if out.suffix.lower() == ".html" else pair_pages.to_markdown
        write_bytes(out, page(answer.result).encode())
    if not is_quiet():
        n_first, n_second = len(answer.result.first), len(answer.result.second)
        click.echo(f"{out}: {n_first} and {n_second} pairs", err=True)


def _show(answer: Answer, format_: str) -> None:
    from embedsearch.cli.terminal import make_console, show
    from embedsearch.render import pair_pages, tables
    from embedsearch.render import pairs as pair_texts

    if format_ == "json":
        click.echo(tables.to_json(answer.as_dict()), nl=False)
    elif answer.printed is not None and format_ in ("csv", "latex"):
        click.echo(tables.to_text(answer.printed, format_), nl=False)
    elif format_ in ("csv", "latex"):
        table = pair_texts.pairs_table(answer.result, brief=format_ == "latex")
        click.echo(tables.to_text(table, format_), nl=False)
    else:
        console = make_console()
        show(pair_pages.pairs_text(answer.result, links=console.is_terminal), console=console)
        if answer.printed is not None:
            click.echo(f"\n{tables.to_text(answer.printed, 'table', width=console.width)}", nl=False)
            for line in answer.notes:
                click.echo(line)
