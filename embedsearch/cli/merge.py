"""embedsearch merge"""

from __future__ import annotations

from pathlib import Path

import click

from embedsearch.cli.options import is_quiet, message_options


@click.command(name="merge")
@click.argument("adapter")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Folder of the whole model; new."
)
@click.option("--base", metavar="MODEL", help="The adapter's base model, where it does not lie where the adapter says.")
@click.option("--revision", help="Commit, tag or branch of a base on the hub.")
@message_options
def command(adapter: str, out: Path, base: str | None, revision: str | None) -> None:
    """Put the LoRA adapter in the folder ADAPTER into its base model, and write the whole as a new model folder.

    The result is loaded with --model FOLDER, and by transformers.
    """
    from embedsearch.training.merging import merge

    model = merge(adapter, out, base=base, revision=revision)
    if not is_quiet():
        note = f" ({model.note})" if model.note else ""
        click.echo(f"{out}: {adapter} in {model.files.name}{note}.", err=True)
