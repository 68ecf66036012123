"""embedsearch embed"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from embedsearch.cli.building import Task
from embedsearch.cli.cost import service_options
from embedsearch.cli.options import (
    compute_options,
    corpus_options,
    engine_options,
    is_quiet,
    message_options,
    model_options,
)


@click.command(name="embed")
@click.argument("corpus", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="SPACE",
    help="A folder, for an index that is searched without a FAISS file; or a file: .npz, .npy, .parquet or .jsonl.",
)
@model_options
@corpus_options
@click.option("--overwrite", is_flag=True, help="Replace what is at SPACE, once the new one is whole.")
@compute_options
@engine_options
@service_options
@message_options
def command(corpus: str | None, out: Path, overwrite: bool, **shared: Any) -> None:
    """Embed the papers in CORPUS: the vectors alone, to be compared or to be taken elsewhere.

    CORPUS is what build-index takes. Whatever stops the work, the same command goes on from where it was.
    """
    from embedsearch.errors import RecipeMismatch, StoreError

    task = Task(corpus=corpus, index=out, shared=shared, ann="exact", overwrite=overwrite)
    try:
        if out.is_dir() or not out.suffix:
            _to_folder(task)
        else:
            _to_file(task, out)
    except (RecipeMismatch, StoreError) as error:  # what build-index calls --index has another name here
        text = str(error).replace("name another --index", "name another --out")
        raise type(error)(text.replace("of its own with --index", "of its own with --out")) from error


def _to_folder(task: Task) -> None:
    from embedsearch.cli.building import run

    report, display = run(task)
    if not is_quiet():
        display.report(report, task.index)


def _to_file(task: Task, out: Path) -> None:
    """By way of an index beside the file, which is what can be resumed; it is removed when the file is there."""
    from embedsearch.cli.building import run
    from embedsearch.errors import OptionError, RecipeMismatch
    from embedsearch.render.tables import counted
    from embedsearch.store.atomic import remove
    from embedsearch.store.space import Space
    from embedsearch.store.vector_writer import check_target, write_space

    check_target(out)
    folder = out.with_name(f".{out.name}.building")
    if out.exists() and not task.overwrite:
        if not _is_of(folder, out):
            raise OptionError(f"expected no file at {out} yet, found one: replace it with --overwrite, or name another")
        remove(folder)  # the last run was stopped between the two
        click.echo(f"{out} is complete. Nothing to do.", err=True)
        return
    # In float32 unless asked: a file is made once, and to be read by others.
    dtype = task.shared["dtype_stored"] or "float32"
    work = replace(task, index=folder, shared={**task.shared, "dtype_stored": dtype}, overwrite=False)
    try:
        report, display = run(work)
    except RecipeMismatch:  # another run was begun here: it is gone on with unless it is in the way
        if not task.overwrite:
            raise
        remove(folder)
        report, display = run(work)
    space = Space.open(folder)
    write_space(out, space, dtype=dtype)
    remove(folder)
    if not is_quiet():
        display.report_papers(report)
        click.echo(f"{out}: {counted(len(space), 'vector')} of {space.dim} numbers by {space.label}.", err=True)


def _is_of(folder: Path, out: Path) -> bool:
    """Whether the file was made of the index that was left beside it."""
    from embedsearch.errors import StoreError
    from embedsearch.store.manifest import MANIFEST_NAME, read_manifest

    try:
        is_complete = read_manifest(folder).serving.complete
    except StoreError:
        return False
    return is_complete and out.stat().st_mtime_ns >= (folder / MANIFEST_NAME).stat().st_mtime_ns
