"""embedsearch verify"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import index_option, is_quiet, message_options


@click.command(name="verify")
@index_option
@message_options
def command(index: Path) -> None:
    """Check every file of an index: hashes, vectors, ids, rows. Exit code 1 if something is wrong."""
    from embedsearch.errors import StoreCorrupt
    from embedsearch.store.info import store_info
    from embedsearch.verify import verify_store

    n_wrong = 0
    for problem in verify_store(index):
        click.echo(problem)
        n_wrong += 1
    if n_wrong:
        raise StoreCorrupt(
            f"expected a whole index in {index}, found {n_wrong} thing{'s' * (n_wrong > 1)} wrong; build it again with:"
            f" embedsearch build-index CORPUS --index {index} --overwrite"
        )
    if not is_quiet():
        info = store_info(index)
        click.echo(f"{index} is whole: {info.n_papers:,} papers, {info.n_embedded:,} vectors, {_size(info.sizes)}.")


def _size(sizes: dict[str, int]) -> str:
    from embedsearch.render.stores import byte_size

    return byte_size(sum(sizes.values()))
