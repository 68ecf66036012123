"""embedsearch finetune"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.options import chosen, format_option, is_quiet, message_options, paper_options
from embedsearch.cli.training_options import SHARED, of_objective, training_options
from embedsearch.cli.training_progress import TrainingDisplay

if TYPE_CHECKING:
    from embedsearch.records import Paper
    from embedsearch.training.report import TrainingReport

DEFAULT_MODELS = {"contrastive": "minilm", "causal": "smollm2"}
"""By objective."""


@click.command(name="finetune")
@click.argument("corpus", required=False)
@click.option(
    "--objective",
    type=click.Choice(list(DEFAULT_MODELS)),
    default="contrastive",
    show_default=True,
    help="contrastive: titles learn to find their abstracts, for search. causal: the next token is predicted, as"
    " AstroLLaMA was made.",
)
@click.option(
    "--model",
    metavar="NAME",
    help="The base: a named model, a folder, a GGUF file or a hub id. [default: minilm; smollm2 for causal]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of the new model. [default: models/MODEL-OBJECTIVE]",
)
@training_options
@paper_options
@click.option("--dry-run", is_flag=True, help="Say what it will take (tokens, hours, memory), from a few steps of it.")
@click.option("--overwrite", is_flag=True, help="Replace what is at FOLDER, once the new model is whole.")
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    help="How often what is done is saved; at the end of each epoch it always is.",
)
@format_option("table", "json", "csv", "latex")
@message_options
def command(
    corpus: str | None,
    objective: str,
    model: str | None,
    out: Path | None,
    dry_run: bool,
    overwrite: bool,
    checkpoint_minutes: float,
    format_: str | None,
    **given: Any,
) -> None:
    """Adapt a model to the papers in CORPUS, which is what build-index takes.

    The result is a folder that --model takes, as transformers and sentence-transformers do. Some papers are held out,
    by the hash of their ids, and measured before and after. Whatever stops the work, the same command goes on from its
    last checkpoint.
    """
    from embedsearch.training.workspace import RunOptions, is_main_process

    if not is_main_process():  # of several, one speaks
        logging.getLogger("embedsearch").setLevel(logging.ERROR)
    named = {name: value for name in SHARED if (value := given.pop(name)) is not None}
    own = {name: given.pop(name) for name in of_objective()}
    model = model or DEFAULT_MODELS[objective]
    if out is None:
        out = Path("models") / f"{Path(model).name.removesuffix('.gguf')}-{objective}"
    finetune, options = _objective(objective, own | {"template": given["template"]}, named | {"model": model})
    _say(f"{objective} from {model}, to {out}.", corpus)
    papers = _read(corpus, given | {"seed": named.get("seed", 0)})
    with TrainingDisplay(quiet=is_quiet()) as display:
        if dry_run:
            _rehearse(finetune, papers, options, display)
            return
        run = RunOptions(overwrite=overwrite, checkpoint_minutes=checkpoint_minutes, finish=_draw)
        report = finetune(papers, options, out, display, run=run)
    if is_main_process():
        _show(report, out, corpus, format_ or "table")


def _objective(objective: str, own: dict[str, Any], shared: dict[str, Any]) -> tuple[Callable[..., Any], Any]:
    """The function and its options; a usage error for an option of the other objective."""
    mine = of_objective(objective)
    for name, value in own.items():
        if value is not None and name not in mine:
            other = next(each for each in DEFAULT_MODELS if each != objective)
            raise click.UsageError(f"--{name.replace('_', '-')} is for --objective {other}, found {objective}.")
    try:
        return _imported(objective, shared | {name: own[name] for name in mine if own[name] is not None})
    except ModuleNotFoundError as error:
        from embedsearch.errors import MissingExtra

        raise MissingExtra(
            f"expected the libraries that train, found no {error.name}: pip install 'embedsearch[train]'"
        ) from error


def _imported(objective: str, asked: dict[str, Any]) -> tuple[Callable[..., Any], Any]:
    if objective == "causal":
        from embedsearch.training.causal.finetune import finetune_causal
        from embedsearch.training.causal.options import CausalOptions

        return finetune_causal, CausalOptions(**asked)
    from embedsearch.training.contrastive.finetune import finetune_contrastive
    from embedsearch.training.contrastive.options import ContrastiveOptions
    from embedsearch.training.contrastive.pairs import PairKind

    if "pairs" in asked:
        asked["pairs"] = PairKind(asked["pairs"])
    return finetune_contrastive, ContrastiveOptions(**asked)


def _say(text: str, corpus: str | None) -> None:
    if is_quiet():
        return
    if corpus is None:
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    click.echo(text[0].upper() + text[1:], err=True)


def _read(corpus: str | None, selection: dict[str, Any]) -> list[Paper]:
    from embedsearch.language.papers import read_papers

    read = read_papers(corpus, options=chosen(**selection))
    if read.note.n_empty and not is_quiet():
        click.echo(f"Without an abstract, and left out: {read.note.n_empty:,}.", err=True)
    return read.papers


def _rehearse(finetune: Callable[..., Any], papers: list[Paper], options: Any, display: TrainingDisplay) -> None:
    from embedsearch.cli.terminal import duration
    from embedsearch.training.rehearsal import rehearse

    found = rehearse(finetune, papers, options, progress=display)
    click.echo(
        f"{found.n_papers:,} papers, about {found.n_tokens:,} tokens in {found.n_steps:,} steps: "
        f"{duration(found.seconds)} of training at {found.tokens_per_second:,.0f} tokens/s, measured in a few steps, "
        f"and measuring before and after. Memory: {found.peak_bytes / 1e9:.1f} GB, measured. "
        f"Disk: {found.disk_bytes / 1e9:.1f} GB for checkpoints and the model."
    )


def _draw(folder: Path, report: TrainingReport) -> None:
    """The losses, into the folder of the result."""
    from embedsearch.plots import save_figure
    from embedsearch.plots.training import loss_figure

    save_figure(loss_figure(report), folder / "losses.png")


def _show(report: TrainingReport, out: Path, corpus: str | None, format_: str) -> None:
    from embedsearch.cli.terminal import duration
    from embedsearch.render import training as texts

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(texts.to_text(report, format_, width=width), nl=False)
    if is_quiet():
        return
    if report.already_complete:
        click.echo(f"{out} is complete. Nothing to do.", err=True)
    else:
        for note in report.notes:
            click.echo(note if note.endswith(".") else f"{note}.", err=True)
        click.echo(f"{out}: {duration(report.seconds)} of training. Losses: {out / 'losses.png'}", err=True)
    source = f" {corpus}" if corpus and corpus != "-" else ""
    following = "build-index" if report.objective == "contrastive" else "perplexity"
    click.echo(f"Next: embedsearch {following}{source} --model {out}", err=True)
