"""embedsearch compact"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import index_option, is_quiet, message_options


@click.command(name="compact")
@index_option
@message_options
def command(index: Path) -> None:
    """Write an index anew without what was removed or replaced. Nothing is embedded.

    What was there before stays on the disk as the generation to roll back to, until the next change.
    """
    from embedsearch.cli.progress import BuildDisplay
    from embedsearch.render.tables import counted
    from embedsearch.store.info import store_info
    from embedsearch.update import compact

    before = store_info(index)
    with BuildDisplay(quiet=is_quiet()) as display:
        report = compact(index, progress=display)
    if is_quiet():
        return
    papers = counted(report.n_papers, "paper")
    if report.is_nothing:
        click.echo(f"{index}: nothing was removed or replaced of its {papers}. Nothing to do.", err=True)
        return
    from embedsearch.render.stores import byte_size

    sizes = (byte_size(sum(info.sizes.values())) for info in (before, store_info(index)))
    gone = counted(before.n_dead, "dead row")
    click.echo(
        f"{index}: {gone} left out, {' before, '.join(sizes)} now: {papers}, generation {report.generation}.", err=True
    )
