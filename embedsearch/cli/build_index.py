"""embedsearch build-index"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import service_options
from embedsearch.cli.options import (
    compute_options,
    corpus_options,
    engine_options,
    index_option,
    is_quiet,
    message_options,
    model_options,
    parse_fields,
)

if TYPE_CHECKING:
    from embedsearch.cli.building import Task


class ByteSize(click.ParamType["int"]):
    """A number of bytes: 250M, 4G, 1.5GB; units are powers of 1000."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?", str(value), re.IGNORECASE)
        if found is None or not float(found[1]):
            self.fail(f"expected a size such as 250M or 4G, found {value!r}", param, ctx)
        thousands: int = 1000 ** " KMGT".index(found[2].upper() or " ")
        return round(float(found[1]) * thousands)


@click.command(name="build-index")
@click.argument("corpus", required=False)
@index_option
@click.option(
    "--vectors",
    metavar="SPACE",
    help="Take the vectors from there, by id: another index, or a file of vectors. --model then says what made them.",
)
@click.option(
    "--vector-field",
    "vector_fields",
    multiple=True,
    metavar="OURS=THEIRS",
    help="A column of the file of vectors: id=DOI, embedding=ada. May be repeated.",
)
@model_options
@corpus_options
@click.option(
    "--ann",
    type=click.Choice(["auto", "flat", "ivf", "exact"]),
    help="Kind of index; default in a new one: auto, by the number of papers and --memory.",
)
@click.option("--memory", type=ByteSize(), metavar="SIZE", help="What the index may take in memory: 250M, 4G.")
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the exact ten nearest papers that the index is to find; default: 0.99.",
)
@click.option(
    "--ann-device",
    default="cpu",
    show_default=True,
    metavar="cpu|cuda|cuda:N",
    help="Where an ivf index is built; it is searched on the CPU.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace an index of other papers or another model, once the new one is whole."
)
@click.option("--shards", "share", metavar="K/N", help="Compute every N-th shard from the K-th on, and hand them in.")
@click.option("--collect", is_flag=True, help="Finish the index with the shards that were handed in.")
@compute_options
@engine_options
@service_options
@message_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    corpus: str | None,
    index: Path,
    vectors: str | None,
    vector_fields: tuple[str, ...],
    ann: str | None,
    memory: int | None,
    recall: float | None,
    ann_device: str,
    overwrite: bool,
    share: str | None,
    collect: bool,
    **shared: Any,
) -> None:
    """Make an index of the papers in CORPUS, or finish one that was begun.

    CORPUS is JSON Lines (also the arXiv snapshot; .gz and .zst too), CSV, Parquet, another index, or - for JSON Lines
    on standard input. Without CORPUS the index is finished if there is one; else the bundled sample is taken, 120
    invented papers to try things on.

    Whatever stops the work, the same command goes on from where it was.

    An array job runs this with --shards K/N, K from 1 to N, then once with --collect.
    """
    from embedsearch.cli.building import Task, run, run_share

    if vector_fields and vectors is None:
        raise click.UsageError("Expected --vectors SPACE beside --vector-field, whose columns are that file's.")
    if vectors is not None and shared["dry_run"]:
        raise click.UsageError("Expected --vectors or --dry-run, and not both: nothing is embedded.")
    if vectors is not None and ctx.get_parameter_source("model") is click.core.ParameterSource.ENVIRONMENT:
        shared["model"] = None  # the variable says what to embed with, and nothing of vectors that are there
    task = Task(
        corpus=corpus,
        index=index,
        shared=shared,
        ann=ann,
        memory=memory,
        recall=recall,
        ann_device=ann_device,
        overwrite=overwrite,
        vectors=vectors,
        vector_fields=parse_fields(vector_fields, option="--vector-field"),
        collect=collect,
    )
    if share is not None:
        _check_share(task, share)
        run_share(task, share)
        return
    report, display = run(task)
    if not is_quiet():
        display.report(report, index, taken=vectors is not None)


def _check_share(task: Task, share: str) -> None:
    """Raise a usage error for what a task of an array job cannot do."""
    from embedsearch.cli.building import engine_of, is_of_service

    engine_of(task, is_share=True)  # raises for options that do not go together whatever is done with the shards
    others = {
        "--collect": task.collect,
        "--overwrite": task.overwrite,
        "--vectors": task.vectors is not None,
        "--devices": task.shared["devices"],
        "--engine": task.shared["engine_name"] != "local",
        "--dry-run": task.shared["dry_run"],
    }
    if found := [name for name, is_given in others.items() if is_given]:
        raise click.UsageError(f"Expected --shards without {found[0]}.")
    if task.corpus == "-":
        raise click.UsageError("Expected a file beside --shards: each task may have to read the papers.")
    if is_of_service(task):
        raise click.UsageError(f"Expected a model that runs here for share {share}: a service has one limit for all.")
