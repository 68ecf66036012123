"""embedsearch perplexity"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.options import (
    chosen,
    compute_options,
    format_option,
    is_quiet,
    message_options,
    paper_options,
)
from embedsearch.cli.token_progress import TokenDisplay

if TYPE_CHECKING:
    from embedsearch.language.papers import Papers
    from embedsearch.language.surprise import Surprise

DEFAULT_MODEL = "smollm2"


@click.command(name="perplexity")
@click.argument("corpus", required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    metavar="NAME",
    help="A causal language model: a named model, a folder, a GGUF file, a hub id, or the folder of a LoRA adapter. May"
    " be repeated: the others are compared with the first.",
)
@click.option("--base", metavar="NAME", help="The model that an adapter is put on; default: the one that it names.")
@click.option("--revision", help="Commit, tag or branch of a hub model; of one --model alone.")
@paper_options
@click.option(
    "--per-paper",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write each paper's figures: .csv, .jsonl or .parquet.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Figure to write: .png, .pdf or .svg. Every number drawn is written beside it, as .json.",
)
@compute_options
@format_option("table", "json", "csv", "latex")
@message_options
def command(
    corpus: str | None,
    models: tuple[str, ...],
    base: str | None,
    revision: str | None,
    per_paper: Path | None,
    out: Path | None,
    device: str,
    dtype: str,
    token_budget: int | None,
    format_: str | None,
    **papers: Any,
) -> None:
    """Measure how well language models predict the abstracts in CORPUS.

    CORPUS is what build-index takes, an index included. For each model: perplexity, which is the exponential of the
    loss a token, and bits for each byte of the text, which is the figure to compare models of different tokenizers by;
    with intervals over papers, and the difference to the first model in per cent. Abstracts are read whole.
    """
    from embedsearch.encoders import Compute
    from embedsearch.language.measuring import measure_models

    if revision is not None and len(models) > 1:
        raise click.UsageError("Expected one --model beside --revision, found several.")
    _check_files(per_paper, out)
    read = _read(corpus, papers)
    compute = Compute(device=device, dtype=dtype, token_budget=token_budget)
    with TokenDisplay(len(read.papers)) as display:
        found = measure_models(
            read, models, revision=revision, base=base, compute=compute, seed=papers["seed"], progress=display.begin
        )
    _write(found, per_paper, out, format_ or "table", template=papers["template"] or "{abstract}")


def _check_files(per_paper: Path | None, out: Path | None) -> None:
    if out is not None:
        from embedsearch import plots

        plots.check_figure_path(out)
    if per_paper is not None:
        from embedsearch.store.row_files import check_row_file

        check_row_file(per_paper)


def _read(corpus: str | None, papers: dict[str, Any]) -> Papers:
    from embedsearch.language.papers import read_papers

    if corpus is None and not is_quiet():
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    read = read_papers(corpus, options=chosen(**papers))
    if read.note.n_empty and not is_quiet():
        click.echo(f"Without an abstract, and left out: {read.note.n_empty:,}.", err=True)
    return read


def _write(found: Surprise, per_paper: Path | None, out: Path | None, format_: str, *, template: str) -> None:
    from embedsearch.render import perplexity as texts
    from embedsearch.store.atomic import write_bytes
    from embedsearch.store.row_files import write_rows

    about = {"command": shlex.join(["embedsearch", *sys.argv[1:]]), "template": template}
    written = []
    if per_paper is not None:
        write_rows(per_paper, texts.PER_PAPER, texts.paper_rows(found))
        written.append(f"each paper's figures: {per_paper}")
    if out is not None:
        from embedsearch import plots
        from embedsearch.plots.perplexity import perplexity_figure

        plots.save_figure(perplexity_figure(found), out)
        write_bytes(out.with_suffix(".json"), texts.to_text(found, "json", about=about).encode())
        written.append(f"{out}; every number drawn: {out.with_suffix('.json')}")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(texts.to_text(found, format_, about=about, width=width), nl=False)
    if not is_quiet():
        for note in [f"{m.name}: {m.about['note']}." for m in found.models if m.about["note"]] + written:
            click.echo(note, err=True)
