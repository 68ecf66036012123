"""Where a training keeps what it has done until its result is whole, and how the result gets to its place.

Beside OUT lies a hidden folder: what is trained (`identity.json`), what was measured beforehand, checkpoints, and in
the end the model, which becomes OUT in one step. Of several processes (torchrun, `accelerate launch`) the main one
writes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedsearch.errors import CorpusError, OptionError, RecipeMismatch, StoreCorrupt, StoreError
from embedsearch.store.atomic import disk_errors, remove, sync, write_bytes
from embedsearch.store.lock import writer_lock
from embedsearch.training.cards import CARD_NAME, model_card
from embedsearch.training.checkpoints import seal, sealed_note
from embedsearch.training.identity import differences
from embedsearch.training.report import REPORT_NAME, TrainingReport, read_report, write_report

IDENTITY_NAME = "identity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a training runs; nothing of it changes the model.

    `overwrite` replaces what is at the output. A checkpoint is written every `checkpoint_minutes` and at the end of
    each epoch. `finish` may add files, such as a figure, to the result's folder before that is put in its place.
    `rehearsal_steps`: so many are done and measured, and that is all; for `rehearse`.
    """

    overwrite: bool = False
    checkpoint_minutes: float = 10.0
    finish: Callable[[Path, TrainingReport], None] | None = None
    rehearsal_steps: int | None = None

    def __post_init__(self) -> None:
        if not self.checkpoint_minutes >= 0:
            raise OptionError(f"expected minutes between checkpoints of at least 0, found {self.checkpoint_minutes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint: its folder, the optimiser steps in it, and what `whole.json` noted."""

    folder: Path
    step: int
    note: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The hidden folder of a training whose result goes to `out`; made by `open_workspace`.

    `finished` is the report of the result if that is there already: then nothing is to do.
    `identity` is what every run of the same training shares.
    """

    out: Path
    folder: Path
    identity: Mapping[str, Any]
    is_main: bool
    run: RunOptions
    finished: TrainingReport | None = None

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, as JSON has it; kept, so that a training that goes on does not compute it again.

        None in all processes but the main one.
        """
        if not self.is_main:
            return None
        path = self.folder / f"{name}.json"
        if path.exists():
            try:
                return json.loads(path.read_bytes())
            except ValueError as error:
                raise StoreCorrupt(f"expected what was kept in {path}, found: {error}; remove it") from error
        text = json.dumps(compute())
        write_bytes(path, text.encode())
        return json.loads(text)

    def check_space(self, n_bytes: int, *, what: str) -> None:
        """Raise StoreError if the disk has less than `n_bytes` free; `what` says what they are for."""
        with disk_errors(self.folder):
            free = shutil.disk_usage(self.folder if self.folder.exists() else self.folder.parent).free
        if free < n_bytes:
            raise StoreError(
                f"expected {n_bytes / 1e9:.2f} GB free at {self.folder.parent} for {what}, found {free / 1e9:.2f} GB; "
                "free some, or name another --out"
            )

    def mark_whole(self, folder: Path, note: Mapping[str, Any]) -> None:
        """Sync a checkpoint's files and name them with their hashes: from now on it can be gone on from."""
        seal(folder, note)

    def drop_cut_off(self) -> None:
        """Remove what was cut off while it was written, or the trainer would keep that in place of a whole one."""
        for folder in self.checkpoints.glob("checkpoint-*") if self.is_main else ():
            if sealed_note(folder) is None:
                remove(folder)

    def last_checkpoint(self, *, before_step: int | None = None) -> Checkpoint | None:
        """The latest whole checkpoint; with `before_step`, of an earlier step. What is not whole is passed over."""
        numbered = []
        for folder in self.checkpoints.glob("checkpoint-*"):
            number = folder.name.removeprefix("checkpoint-")
            if number.isdigit() and (before_step is None or int(number) < before_step):
                numbered.append((int(number), folder))
        for step, folder in sorted(numbered, reverse=True):
            note = sealed_note(folder)
            if note is not None:
                return Checkpoint(folder=folder, step=step, note=note)
        return None

    def place(self, write: Callable[[Path], None], report: TrainingReport) -> None:
        """Have the result written to a new folder, with report and card, and make that `out`; this workspace then goes.

        Does nothing in all processes but the main one.
        """
        if not self.is_main:
            return
        made = self.folder / "result"
        remove(made)
        with disk_errors(self.out):
            made.mkdir()
            write(made)
            write_report(made, report)
            (made / CARD_NAME).write_text(model_card(report), encoding="utf-8")
            if self.run.finish is not None:
                self.run.finish(made, report)
            mode = (made / REPORT_NAME).stat().st_mode
            for path in sorted(made.rglob("*"), reverse=True):
                if path.is_file():
                    path.chmod(mode)  # safetensors keeps its files from all others
                sync(path)
            sync(made)
            if self.out.exists():  # --overwrite: the old result stays until the new one is whole
                os.replace(self.out, self.folder / "old")
            os.replace(made, self.out)
            sync(self.out.parent)
        remove(self.folder)


def workspace_path(out: Path) -> Path:
    """The hidden folder beside `out`."""
    return out.with_name(f".{out.name}.training")


def is_main_process() -> bool:
    """Whether this process is the one that writes: torchrun and `accelerate launch` number them."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def open_workspace(out: Path, identity: Mapping[str, Any], *, run: RunOptions | None = None) -> Iterator[Workspace]:
    """Begin, or go on with, the training of this `identity` (nested dicts of what JSON can hold) for the folder `out`.

    Holds a lock. With `overwrite` another training's folder is replaced once the result is whole, and the checkpoints
    of another one that was begun are given up. Nothing stays where the papers are none to train on (CorpusError).
    Raises StoreLocked; OptionError for a folder that no training made; RecipeMismatch, which names what differs, for
    the result or the checkpoints of another training; StoreError.
    """
    out, run = Path(os.path.abspath(out)), run or RunOptions()
    if not out.name:
        raise OptionError(f"expected a folder that can be made, found {out}; name another --out")
    identity = json.loads(json.dumps(identity))
    folder, is_main = workspace_path(out), is_main_process()
    with disk_errors(out):
        finished = _finished(out, identity, overwrite=run.overwrite)
    if finished is not None:
        if is_main and _begun(folder) == identity:  # cut off between the result's renaming and this
            with writer_lock(folder):
                remove(folder)
        yield Workspace(out=out, folder=folder, identity=identity, is_main=is_main, run=run, finished=finished)
        return
    with writer_lock(folder) if is_main else nullcontext():
        if is_main:
            with disk_errors(folder):
                _begin(folder, identity, overwrite=run.overwrite)
        try:
            yield Workspace(out=out, folder=folder, identity=identity, is_main=is_main, run=run)
        except CorpusError:
            if is_main:
                remove(folder)
            raise


def _finished(out: Path, identity: Mapping[str, Any], *, overwrite: bool) -> TrainingReport | None:
    if not out.exists():
        return None
    report = read_report(out, already_complete=True)
    if report is None:
        if out.is_dir() and not any(out.iterdir()):
            return None
        raise OptionError(f"expected no folder at {out} yet, found one that no training made; name another --out")
    if report.identity == identity:
        return report
    if overwrite:
        return None
    raise RecipeMismatch(
        f"expected the result of this training in {out}, found another: {differences(report.identity, identity)}; "
        "name another --out, or replace it with --overwrite"
    )


def _begun(folder: Path) -> Mapping[str, Any] | None:
    """The identity of the training that was begun in a workspace."""
    path = folder / IDENTITY_NAME
    try:
        begun = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        begun = None
    if not isinstance(begun, dict):
        raise StoreCorrupt(f"expected what is trained in {path}, found no JSON object; remove {folder}")
    return begun


def _begin(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> None:
    begun = _begun(folder)
    if begun not in (None, identity):
        if not overwrite and any((folder / "checkpoints").glob("*")):
            what = differences(begun or {}, identity)
            raise RecipeMismatch(
                f"expected to go on with the training begun in {folder}, found another: {what}; use the same, name "
                "another --out, or begin anew with --overwrite"
            )
        for inner in folder.iterdir():
            if not inner.name.startswith(".lock"):
                remove(inner)
    path = folder / IDENTITY_NAME
    write_bytes(path, json.dumps(identity, indent=1).encode())
    (folder / "checkpoints").mkdir(exist_ok=True)
