"""embedsearch evaluate"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from embedsearch.cli.options import DEFAULT_INDEX, compute_options, format_option, is_quiet, message_options

TASKS = ("title", "sentence", "series", "qrels")
MODES = ("dense", "keyword", "hybrid")


@click.command(name="evaluate")
@click.argument("entries", nargs=-1, metavar="[MODEL|SPACE|STORE]...")
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    envvar="EMBEDSEARCH_INDEX",
    metavar="DIR",
    help=f"The index that is evaluated where nothing is named. [default: {DEFAULT_INDEX}]",
)
@click.option(
    "--corpus",
    metavar="FILE",
    help="Papers that models embed: what build-index takes. [default: those of the first index, else the sample]",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(TASKS),
    help="Queries made of the papers: a title for its abstract, a sentence for the rest of its abstract, Paper I for"
    " Paper II; or qrels. May be repeated. [default: title; of the sample, its own queries too]",
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Queries: JSON Lines of _id and text (BEIR), or of query and relevant; or an id and a text a line, TSV.",
)
@click.option(
    "--qrels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Which papers answer them: TREC's four columns, or BEIR's three.",
)
@click.option(
    "--n-queries", type=click.IntRange(min=2), default=500, show_default=True, help="At most, made of the papers."
)
@click.option(
    "--near-duplicates",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="COSINE",
    help="A paper of this cosine with the one that answers, or of its title, counts as that one: 0.95. It is told what"
    " that changes.",
)
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="What search goes by. [default: all]")
@click.option(
    "--worst",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Queries to list that are answered worst.",
)
@click.option("--sample", type=click.IntRange(min=2), metavar="N", help="Take N papers at random, always the same.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option("--query-model", metavar="NAME", help="What embeds queries to vectors that do not name their model.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keeps what models embed, so that the same command goes on from there. [default: a temporary folder]",
)
@click.option("--cost/--no-cost", default=True, help="Whether speed is measured: ten seconds an entry. [default: yes]")
@click.option(
    "--n-papers",
    type=click.IntRange(min=10),
    metavar="N",
    help="Say what so many papers would take, and how well they would be found: 3000000.",
)
@click.option("--choose-hybrid", is_flag=True, help="Find the weight of meaning against words that these papers want.")
@click.option("--save", is_flag=True, help="Keep that weight in the index: from then on its hybrid search has it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Figure to write: .png, .pdf or .svg, of quality against cost; with --n-papers also FILE-sizes, against the"
    " size of the corpus. Every number is written beside it, as .json.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before texts are sent to a service.")
@compute_options
@format_option("table", "json", "csv", "latex")
@message_options
def command(
    entries: tuple[str, ...],
    index: Path | None,
    corpus: str | None,
    tasks: tuple[str, ...],
    queries: Path | None,
    qrels: Path | None,
    n_queries: int,
    near_duplicates: float | None,
    modes: tuple[str, ...],
    worst: int,
    sample: int | None,
    seed: int,
    query_model: str | None,
    work: Path | None,
    cost: bool,
    n_papers: int | None,
    choose_hybrid: bool,
    save: bool,
    out: Path | None,
    yes: bool,
    device: str,
    dtype: str,
    token_budget: int | None,
    format_: str | None,
) -> None:
    """Measure how well papers are found, by meaning, by words and by both.

    What is named is compared on the same papers and queries: an index as it is, a model, which embeds the papers first,
    or a file of vectors with ids. MRR@10, recall and nDCG with their intervals, the differences to the first and
    whether they are more than chance, what an index misses of the exact answer, the worst queries, and what it costs.
    """
    if save and not choose_hybrid:
        raise click.UsageError("Expected --choose-hybrid beside --save.")
    if choose_hybrid and set(modes) in ({"dense"}, {"keyword"}):
        raise click.UsageError(f"Expected meaning and words beside --choose-hybrid, found --mode {modes[0]} alone.")
    if out is not None and not cost and n_papers is None:
        raise click.UsageError("Expected --cost or --n-papers beside --out: it is drawn against them.")
    from embedsearch.cli.evaluating import Asked, EvaluateDisplay, check, entries_of, save_weights, write_figures
    from embedsearch.encoders import Compute
    from embedsearch.errors import OptionError
    from embedsearch.evaluate import Also, Papers, Task, make_sets, study
    from embedsearch.render import evaluation as tables
    from embedsearch.search import Mode

    check(out)
    asked = Asked(
        targets=entries,
        index=index,
        corpus=corpus,
        query_model=query_model,
        sample=sample,
        seed=seed,
        work=work,
        compute=Compute(device=device, dtype=dtype, token_budget=token_budget),
        yes=yes,
    )
    with entries_of(asked) as opened, EvaluateDisplay() as display:
        papers, left_out = Papers.common(opened)
        papers = papers if sample is None else papers.sample(sample, seed=seed)
        sets, notes = make_sets(
            papers, [Task(task) for task in tasks], n_queries=n_queries, queries=queries, qrels=qrels
        )
        found = study(
            opened,
            papers,
            sets,
            Also(cost=cost, n_papers=n_papers, choose_hybrid=choose_hybrid),
            modes=[Mode(mode) for mode in modes or MODES],
            n_worst=worst,
            notes=[*left_out, *notes],
            near_duplicates=near_duplicates,
            progress=display,
        )
        saved = save_weights(found, opened, entries) if save else []
    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]])}
    written = [] if out is None else write_figures(found, out, about)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(tables.to_text(found, format_ or "table", about=about, width=width), nl=False)
    if not is_quiet():
        for note in found.notes:
            click.echo(f"Note: {note}.", err=True)
        if written:
            click.echo(f"Written: {', '.join(map(str, written))}.", err=True)
    if save and not saved:
        raise OptionError("expected a weight to keep and an index to keep it in, found none; all else is as above")
