"""embedsearch add"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embedsearch.cli.cost import sending_options
from embedsearch.cli.options import (
    COMPUTE,
    chosen,
    compute_options,
    index_option,
    is_quiet,
    message_options,
    reading_options,
)

if TYPE_CHECKING:
    from embedsearch.encoders import Compute, Encoder
    from embedsearch.update import UpdateReport


@click.command(name="add")
@click.argument("corpus")
@index_option
@reading_options
@click.option("--template", metavar="TEXT", help="The index's, or nothing is added. [default: the index's]")
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
    encoder = service_of(index, base_url, compute)
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


def service_of(index: Path, base_url: str | None, compute: Compute) -> Encoder | None:
    """The encoder of the index at a service that is named, with the key; None where none is.

    Without a name an address is taken from the index, and gets no key: whoever made the index chose it.
    """
    from embedsearch.encoders import ModelSpec, open_encoder
    from embedsearch.store.manifest import read_manifest

    if base_url is None:
        return None
    known = read_manifest(index).serving
    return open_encoder(replace(ModelSpec.from_dict(known.model), base_url=base_url), compute=compute)


def _told(report: UpdateReport) -> str:
    """What was done, in a line."""
    from embedsearch.render.tables import counted

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
