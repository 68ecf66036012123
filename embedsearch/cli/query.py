"""embedsearch query"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedsearch.cli.options import compute_options, format_option, index_option, is_file, is_quiet, message_options
from embedsearch.cli.terminal import make_console, show

if TYPE_CHECKING:
    from embedsearch.records import SearchResult
    from embedsearch.search import Searcher
    from embedsearch.search.library import Library


@click.command(name="query")
@click.argument("text", nargs=-1)
@index_option
@click.option("-k", "k", type=int, default=10, show_default=True, help="Papers for each query.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "dense", "keyword"]),
    default="hybrid",
    show_default=True,
    envvar="EMBEDSEARCH_MODE",
    help="By meaning and words, by meaning, or by words.",
)
@click.option(
    "--like",
    multiple=True,
    metavar="ID|FILE.bib",
    help="Papers like this one: an id, an address or a DOI. Or like those of a .bib. May be repeated.",
)
@click.option(
    "--combine",
    type=click.Choice(["nearest", "mean"]),
    help="Of several: score by the nearest of them, or by their mean. [default: nearest]",
)
@click.option(
    "--model",
    metavar="NAME",
    help="What made the vectors, where the index does not know: it embeds the query.",
)
@click.option(
    "--category", multiple=True, metavar="PATTERN", help="Only papers in such a category: 'astro-ph*'. May be repeated."
)
@click.option("--since", metavar="DATE", help="Only papers from this day, month or year on.")
@click.option("--until", metavar="DATE", help="Only papers up to this day, month or year.")
@click.option("--author", multiple=True, metavar="NAME", help="Only papers by this author. May be repeated.")
@click.option(
    "--sort",
    type=click.Choice(["score", "date"]),
    default="score",
    show_default=True,
    help="Order of the K best: best or newest first.",
)
@click.option("--abstract", is_flag=True, help="Show whole abstracts.")
@format_option("table", "json", "csv", "bibtex")
@compute_options
@message_options
def command(
    text: tuple[str, ...],
    index: Path,
    k: int,
    mode: str,
    like: tuple[str, ...],
    combine: str | None,
    model: str | None,
    category: tuple[str, ...],
    since: str | None,
    until: str | None,
    author: tuple[str, ...],
    sort: str,
    abstract: bool,
    format_: str | None,
    device: str,
    dtype: str,
    token_budget: int | None,
) -> None:
    """Find papers.

    TEXT is a query, or several (quote each), or a file with a query a line, or - for standard input. Words in "inner
    quotation marks" must stand so in a paper; nothing else is an operator. An arXiv id, its address or a DOI finds that
    paper and those like it.
    """
    if bool(text) == bool(like):
        raise click.UsageError("Expected a query, or --like ID, and not both.")
    if combine and not like:
        raise click.UsageError("Expected --combine with --like: it says how several papers make one score.")
    if "-" in text and len(text) > 1:
        raise click.UsageError("Expected - alone: it stands for queries on standard input.")
    from embedsearch.encoders import Compute
    from embedsearch.search import Searcher
    from embedsearch.store.filters import Filters

    queries, is_batch = _queries(text)
    filters = Filters(categories=category, since=since, until=until, authors=author)
    searcher = Searcher.open(index, model=model, compute=Compute(device=device, dtype=dtype, token_budget=token_budget))
    _say_if_partial(searcher)
    likes: dict[str, str] = {}
    if like:
        mine = searcher.library(like)
        asked = mine.ids[0] if len(mine.ids) == 1 else mine.ids
        results = [searcher.similar_to(asked, combine=combine or "nearest", k=k, filters=filters, sort=sort)]
        likes = _called(searcher, mine, results[0])
    else:
        results = searcher.search(queries, k=k, mode=mode, filters=filters, sort=sort)
    _show(results, format_ or ("json" if is_batch else "table"), as_lines=is_batch, abstract=abstract, likes=likes)


def _queries(text: tuple[str, ...]) -> tuple[list[str], bool]:
    """The queries, and whether they came as a batch."""
    from embedsearch.errors import QueryError
    from embedsearch.keywords import clean

    if len(text) != 1:
        return list(text), False
    if text[0] == "-":
        lines = sys.stdin.buffer.read().decode("utf-8", "replace").splitlines()
    elif is_file(text[0]):
        if not is_quiet():
            click.echo(f"Reading queries from the file {text[0]}.", err=True)
        try:
            lines = Path(text[0]).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise QueryError(f"expected a file of queries in {text[0]}, found: {error.strerror}") from error
    else:
        return list(text), False
    queries = [line for line in lines if clean(line)]
    if not queries:
        raise QueryError(f"expected a query a line in {'standard input' if text[0] == '-' else text[0]}, found none")
    return queries, True


def _say_if_partial(searcher: Searcher) -> None:
    from embedsearch.store.manifest import build_command

    generation = searcher.generation
    if generation.n_embedded < generation.n_papers and not is_quiet():
        share = f"{generation.n_embedded:,} of {generation.n_papers:,} papers have vectors"
        again = build_command(searcher.folder)
        click.echo(f"This index is not finished: {share}; go on with: {again}", err=True)


def _called(searcher: Searcher, mine: Library, result: SearchResult) -> dict[str, str]:
    """What the papers of mine that hits are like are called: the title, and the key of the .bib."""
    called = {}
    for id in dict.fromkeys(hit.like for hit in result.hits if hit.like is not None):
        label = mine.labels[id]
        called[id] = f"{label}: {searcher.stored(id).title}".rstrip(": ")
    return called


def _show(found: list[SearchResult], format_: str, *, as_lines: bool, abstract: bool, likes: Mapping[str, str]) -> None:
    from embedsearch.render import bibtex, terminal
    from embedsearch.render import results as render

    if format_ == "json" and as_lines:
        click.echo("\n".join(render.to_json(render.result_dict(result), indent=None) for result in found))
    elif format_ == "json":
        shown = [render.result_dict(result) for result in found]
        click.echo(render.to_json(shown[0] if len(shown) == 1 else shown))
    elif format_ == "csv":
        click.echo(render.to_csv(found), nl=False)
    elif format_ == "bibtex":
        distinct = {hit.id: hit.paper for result in found for hit in result.hits}
        click.echo(bibtex.to_bibtex(distinct.values()), nl=False)
    else:
        console = make_console()
        links = console.is_terminal
        show(
            *(terminal.hits_table(result, links=links, abstracts=abstract, likes=likes) for result in found),
            console=console,
        )
