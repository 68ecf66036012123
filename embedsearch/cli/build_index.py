"""embedsearch build-index"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from embedsearch.cli.options import compute_options, index_option, is_quiet, message_options


@click.command(name="build-index")
@click.argument("corpus", required=False)
@index_option
@click.option(
    "--model",
    envvar="EMBEDSEARCH_MODEL",
    metavar="NAME",
    help="A named model (see `embedsearch models`), a folder, a GGUF file, or a hub id. [default: minilm]",
)
@click.option("--revision", help="Commit, tag or branch of a hub model.")
@click.option(
    "--pooling",
    type=click.Choice(["mean-without-bos", "mean", "cls", "last-token"]),
    help="How tokens become one vector; default: as the model states.",
)
@click.option("--query-prompt", help="Put before each query; default: as the model states.")
@click.option("--document-prompt", help="Put before each paper; default: as the model states.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longer texts are cut here, and counted.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a model. Off unless you say so.")
@click.option(
    "--category", multiple=True, metavar="PATTERN", help="Only papers in such a category: 'astro-ph*'. May be repeated."
)
@click.option("--since", metavar="DATE", help="Only papers from this day, month or year on.")
@click.option("--until", metavar="DATE", help="Only papers up to this day, month or year.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N papers.")
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Take N papers at random, the same ones each time."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS",
    help="A column by another name: abstract=summary. May be repeated.",
)
@click.option("--strict", is_flag=True, help="A paper without an abstract is an error, not left out.")
@click.option("--template", metavar="TEXT", help="What is embedded of a paper. [default: {abstract}]")
@click.option("--transform", metavar="KIND", help="center, whiten:K, remove-top:K, truncate:D, or none.")
@click.option(
    "--dtype-stored", type=click.Choice(["float16", "float32"]), help="Of the stored vectors. [default: float16]"
)
@click.option(
    "--ann", type=click.Choice(["flat", "ivf", "exact"]), help="Kind of index; default: by the number of papers."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace an index of other papers or another model, once the new one is whole."
)
@compute_options
@message_options
def command(
    corpus: str | None,
    index: Path,
    model: str | None,
    revision: str | None,
    pooling: str | None,
    query_prompt: str | None,
    document_prompt: str | None,
    max_tokens: int | None,
    trust_remote_code: bool,
    category: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    fields: tuple[str, ...],
    strict: bool,
    template: str | None,
    transform: str | None,
    dtype_stored: str | None,
    ann: str | None,
    overwrite: bool,
    device: str,
    dtype: str,
    token_budget: int | None,
) -> None:
    """Make an index of the papers in CORPUS, or finish one that was begun.

    CORPUS is JSON Lines (also the arXiv snapshot; .gz and .zst too), CSV, Parquet, another index, or - for JSON Lines
    on standard input. Without CORPUS the index is finished if there is one; else the bundled sample is taken, 120
    invented papers to try things on.

    Whatever stops the work, the same command goes on from where it was.
    """
    from embedsearch.ann import AnnKind
    from embedsearch.build import BuildOptions, build_index, model_of_store
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.corpus import Selection
    from embedsearch.encoders import Compute, ModelSpec, Pooling

    options = BuildOptions(
        selection=Selection(categories=category, since=since, until=until),
        limit=limit,
        sample=sample,
        seed=seed,
        fields=_pairs(fields),
        strict=strict,
        template=template,
        transform=transform,
        dtype=dtype_stored,
        ann=AnnKind(ann) if ann else None,
        overwrite=overwrite,
    )
    asked: dict[str, Any] = {
        "name": model,
        "revision": revision,
        "pooling": Pooling(pooling) if pooling else None,
        "query_prompt": query_prompt,
        "document_prompt": document_prompt,
        "max_tokens": max_tokens,
        "trust_remote_code": trust_remote_code or None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    base = ModelSpec() if model else model_of_store(index) or ModelSpec()
    spec = replace(base, **given) if given else None
    if corpus is None and not (index / "manifest.json").exists():
        click.echo("No corpus was named: taking the bundled sample, 120 invented papers.", err=True)
    compute = Compute(device=device, dtype=dtype, token_budget=token_budget)
    with BuildDisplay(quiet=is_quiet()) as display:
        report = build_index(corpus, index, model=spec, compute=compute, options=options, progress=display)
    if not is_quiet():
        display.report(report, index)


def _pairs(fields: tuple[str, ...]) -> dict[str, str]:
    for field in fields:
        if "=" not in field:
            raise click.BadParameter(f"expected OURS=THEIRS, found {field!r}", param_hint="--field")
    return {ours: theirs for ours, _, theirs in (field.partition("=") for field in fields)}
