"""embedsearch add"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import sending_options
from embedsearch.cli.options import chosen, compute_options, index_option, is_quiet, message_options, paper_options

if TYPE_CHECKING:
    from embedsearch.encoders import Compute, Encoder
    from embedsearch.update import UpdateReport

COMPUTE = ("device", "dtype", "token_budget", "concurrency")


@click.command(name="add")
@click.argument("corpus")
@index_option
@paper_options
@compute_options
@sending_options
@message_options
def command(corpus: str, index: Path, base_url: str | None, yes: bool, **shared: Any) -> None:
    """Put the papers in CORPUS into an index: new ones, and what has changed of those that are there.

    CORPUS is what `build-index` takes, or what `fetch` wrote. A paper whose text is as before costs no embedding, also
    where other fields have changed; one that CORPUS says was deleted is removed. Papers that CORPUS does not hold stay.

    Searches go on with what was there until all is added. `rollback` takes it back.
    """
    from embedsearch.cli.cost import Cost
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.encoders import Compute
    from embedsearch.update import add

    compute = Compute(**{name: shared.pop(name) for name in COMPUTE})
    encoder = _service(index, base_url, compute)
    with BuildDisplay(quiet=is_quiet()) as display:
        report = add(
            corpus,
            index,
            options=chosen(**shared),
            encoder=encoder,
            compute=compute,
            progress=display,
            before_embedding=Cost(yes=yes, dry_run=False, quiet=is_quiet(), paused=display.paused),
        )
    if not is_quiet():
        click.echo(f"{index}: {_told(report)}", err=True)


def _service(index: Path, base_url: str | None, compute: Compute) -> Encoder | None:
    """The encoder of a service that is named, None where the index names no address: then it knows its own.

    The key must not go to an address that only the index names.
    """
    from embedsearch.build import model_of_store
    from embedsearch.encoders import Recipe, open_encoder
    from embedsearch.store.manifest import read_manifest

    spec = model_of_store(index)
    if spec is None or (spec.base_url is None and base_url is None):
        return None
    if base_url is None:
        raise click.UsageError(f"{index} was made with the service at {spec.base_url}: name it again, with --base-url.")
    recipe = Recipe.from_dict(read_manifest(index, check_files=False).serving.recipe)
    return open_encoder(replace(spec, base_url=base_url), compute=compute, expected=recipe)


def _told(report: UpdateReport) -> str:
    """What was done, in a line."""
    from embedsearch.cli.progress import counted

    found = [
        f"{len(report.new):,} new" if report.new else "",
        f"{len(report.changed):,} with another text" if report.changed else "",
        f"{len(report.renewed):,} with other fields" if report.renewed else "",
        f"{len(report.removed):,} removed" if report.removed else "",
        f"{report.n_unchanged:,} as before" if report.n_unchanged else "",
        f"{report.n_empty:,} without an abstract, left out" if report.n_empty else "",
        f"{report.n_unknown:,} deleted that were not there" if report.n_unknown else "",
    ]
    said = ", ".join(filter(None, found)) or "no papers read"
    if report.is_nothing:
        return f"{said}. Nothing to do: {counted(report.n_papers, 'paper')}, generation {report.generation}."
    return f"{said}. Searched now: {counted(report.n_papers, 'paper')}, generation {report.generation}."
