"""Around a training: what is held out, going on after a stop, memory, disk, and what must not be believed."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_language_models import make_language_model
from tiny_trainings import StopAt, options, papers

from embedsearch.errors import (
    CorpusError,
    EncoderError,
    OptionError,
    RecipeMismatch,
    StoreCorrupt,
    StoreError,
    StoreLocked,
    TrainingStopped,
)
from embedsearch.measures import Interval
from embedsearch.training import watching
from embedsearch.training.causal import trainer as causal_trainer
from embedsearch.training.causal.finetune import finetune_causal
from embedsearch.training.merging import merge
from embedsearch.training.rehearsal import rehearse
from embedsearch.training.report import LossPoint, Measure, TrainingReport, read_report, write_report
from embedsearch.training.split import held_out
from embedsearch.training.workspace import RunOptions, differences, open_workspace, workspace_path

EVERY_STEP = RunOptions(checkpoint_minutes=0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices of 16 columns gain nothing by more
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_language_model(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingReport:
    return finetune_causal(papers(), options(base), tmp_path_factory.mktemp("undisturbed") / "out")


# ---- what is held out -----------------------------------------------------------------------------------------------


def test_a_paper_is_held_out_whatever_else_there_is() -> None:
    ids = [f"2001.{i:05d}" for i in range(2000)]
    out = dict(zip(ids, held_out(ids), strict=True))
    assert 150 < sum(out.values()) < 250
    some = ids[::-3]
    assert list(held_out(some)) == [out[id] for id in some]
    more = dict(zip(ids, held_out(ids, 0.3), strict=True))
    assert all(more[id] for id in ids if out[id])


def test_near_duplicates_are_on_one_side() -> None:
    ids = [f"2001.{i:05d}" for i in range(300)]
    groups = [i // 3 for i in range(300)]
    out = held_out(ids, groups=groups)
    assert list(out) == [held_out([ids[3 * (i // 3)]])[0] for i in range(300)]
    shuffled = held_out(ids[::-1], groups=groups[::-1])
    assert list(shuffled[::-1]) == list(out)


def test_what_cannot_be_held_out() -> None:
    with pytest.raises(OptionError, match="expected a share to hold out from 0 to below 1, found 1"):
        held_out(["a"], 1)
    with pytest.raises(OptionError, match="expected a group for each of 2 papers, found 1"):
        held_out(["a", "b"], groups=[0])


def test_a_report_comes_back(tmp_path: Path) -> None:
    report = TrainingReport(
        objective="causal",
        base="/somewhere/base",
        out=str(tmp_path),
        n_train=3,
        n_validation=2,
        n_tokens=5,
        seconds=1.5,
        options={"model": "/somewhere/base", "lora": None},
        measures=(Measure("a", 1.0, 0.5, Interval(-0.5, -1.0, 0.0)), Measure("b", math.nan, 2.0)),
        losses=(LossPoint(1, 0.5, 2.0), LossPoint(2, 1.0, 1.0, 3.0)),
        notes=("one",),
        identity={"x": 1},
    )
    write_report(tmp_path, report)
    assert "somewhere" not in (tmp_path / "training.json").read_text()
    found = read_report(tmp_path)
    assert found is not None
    assert found.losses == report.losses
    assert found.measures[0] == report.measures[0]
    assert math.isnan(found.measures[1].before)
    assert found.base == "base"
    assert read_report(tmp_path / "nothing") is None
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(StoreError, match="expected the report of a training"):
        read_report(tmp_path)


# ---- the place ------------------------------------------------------------------------------------------------------


def test_one_training_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        open_workspace(out, {"a": 1}),
        pytest.raises(StoreLocked, match="expected to be the only writer"),
        open_workspace(out, {"a": 1}),
    ):
        pass


def test_another_training_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open_workspace(out, {"options": {"rate": 1, "lora": None}}) as work:
        assert work.once("before", lambda: [1.0]) == [1.0]
        assert work.once("before", lambda: [2.0]) == [1.0]
        (work.checkpoints / "checkpoint-1").mkdir()
    other = {"options": {"rate": 2, "lora": None}}
    with pytest.raises(RecipeMismatch, match="options rate 1 against 2; use the same"), open_workspace(out, other):
        pass
    with open_workspace(out, other, run=RunOptions(overwrite=True)) as work:
        assert work.once("before", lambda: [2.0]) == [2.0]
    assert (
        differences({"a": 1, "b": "0" * 64}, {"b": "0" * 64, "c": {"d": 2}}) == "a 1 against null; c d null against 2"
    )


def test_what_has_no_checkpoint_yet_is_given_up_for_another_training(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out", {"a": 1}) as work:
        work.once("before", lambda: [1.0])
    with open_workspace(tmp_path / "out", {"a": 2}) as work:
        assert work.once("before", lambda: [2.0]) == [2.0]


def test_files_of_a_workspace_that_cannot_be_read(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out", {"a": 1}) as work:
        (work.folder / "before.json").write_text("{")
        with pytest.raises(StoreCorrupt, match=r"expected what was kept in .*before\.json, found: .*; remove it"):
            work.once("before", lambda: [1.0])
    for text in ("[1]", "{"):
        (work.folder / "identity.json").write_text(text)
        with pytest.raises(StoreCorrupt, match=r"expected what is trained in .*; remove"), open_workspace(
            tmp_path / "out", {"a": 1}
        ):  # fmt: skip
            pass


def test_papers_that_are_none_to_train_on_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError), open_workspace(tmp_path / "out", {}):
        raise CorpusError("too few")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["/", "a" * 300])
def test_an_output_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises((OptionError, StoreError), match=r"found /; name another|File name too long"), open_workspace(
        tmp_path / name, {}
    ):  # fmt: skip
        pass
    with pytest.raises((OptionError, StoreError), match=r"found something; name another|File name too long"):
        merge(str(_adapter(tmp_path)), tmp_path / name)


def _adapter(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def test_a_workspace_that_was_left_behind_is_removed(tmp_path: Path) -> None:
    """By a kill between the renaming of the result and the removal of what it was made in."""
    out = tmp_path / "out"
    with open_workspace(out, {"a": 1}) as work:
        report = TrainingReport(
            objective="causal", base="b", out="", n_train=1, n_validation=1, n_tokens=1, seconds=0, identity={"a": 1}
        )
        out.mkdir()
        write_report(out, report)
    assert work.folder.exists()
    with open_workspace(out, {"a": 1}) as work:
        assert work.finished is not None
    assert not work.folder.exists()


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    for run in (RunOptions(), RunOptions(overwrite=True)):
        with pytest.raises(OptionError, match="found one that no training made"), open_workspace(
            tmp_path / "out", {}, run=run
        ):  # fmt: skip
            pass
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_no_space_on_the_disk(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StoreError, match=r"GB free at .* for checkpoints and the model, found 0.00 GB"):
        finetune_causal(papers(), options(base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_disk_is_full_in_the_midst_of_it(
    base: Path, undisturbed: TrainingReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole, n = tmp_path / "out", torch.save, 0

    def full(*arguments: Any, **others: Any) -> None:
        nonlocal n
        n += 1
        if n > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(*arguments, **others)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(StoreError, match=r"No space left on device; the last whole checkpoint is kept"):
            finetune_causal(papers(), options(base), out, run=EVERY_STEP)
    assert finetune_causal(papers(), options(base), out).losses == undisturbed.losses


# ---- going on -------------------------------------------------------------------------------------------------------


def test_a_stopped_training_ends_as_an_undisturbed_one(base: Path, undisturbed: TrainingReport, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for step in (3, 4, len(undisturbed.losses) - 2):
        with pytest.raises(KeyboardInterrupt):
            finetune_causal(papers(), options(base), out, StopAt(step), run=EVERY_STEP)
    kept = workspace_path(out) / "checkpoints"
    assert not list(kept.rglob("training_args.bin"))
    newest = max(kept.iterdir(), key=lambda path: int(path.name.split("-")[1]))
    (newest / "model.safetensors").write_bytes(b"cut off")  # as by a kill: the one before it is taken
    report = finetune_causal(papers()[::-1], options(base), out, run=EVERY_STEP)
    # Equal to the last digit on one machine
    assert report.losses == undisturbed.losses
    assert report.measures == undisturbed.measures
    assert not workspace_path(out).exists()
    assert finetune_causal(papers(), options(base), out).already_complete


def test_a_checkpoint_that_was_cut_off_is_not_kept_in_place_of_a_whole_one(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune_causal(papers(), options(base), out, StopAt(4), run=EVERY_STEP)
    kept = workspace_path(out) / "checkpoints"
    for step in (5, 6, 7):  # three kills while one was written
        shutil.copytree(kept / "checkpoint-3", kept / f"checkpoint-{step}")
        (kept / f"checkpoint-{step}" / "whole.json").unlink()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.Watcher, "on_save", killed)  # older ones are gone, this one is not marked yet
    with pytest.raises(KeyboardInterrupt):
        finetune_causal(papers(), options(base), out, run=EVERY_STEP)
    identity = json.loads((workspace_path(out) / "identity.json").read_text())
    with open_workspace(out, identity) as work:
        found = work.last_checkpoint()
    assert found is not None
    assert found.step == 3


def test_a_training_stopped_while_it_was_measured_is_measured_again(
    base: Path, undisturbed: TrainingReport, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def stop(step: watching.TrainingStep) -> None:
        if step.stage == "measuring after":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_causal(papers(), options(base), out, stop)
    report = finetune_causal(papers(), options(base), out)
    assert report.losses == undisturbed.losses
    assert report.measures == undisturbed.measures


def test_nothing_in_a_checkpoint_is_run(base: Path, tmp_path: Path) -> None:
    out, trap = tmp_path / "out", tmp_path / "trap"
    with pytest.raises(KeyboardInterrupt):
        finetune_causal(papers(), options(base), out, StopAt(3), run=EVERY_STEP)

    class Bad:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(trap),)

    folder = max((workspace_path(out) / "checkpoints").iterdir(), key=lambda path: path.name)
    torch.save({"state": Bad()}, folder / "optimizer.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(folder / "optimizer.pt", weights_only=True)
    identity = json.loads((workspace_path(out) / "identity.json").read_text())
    with open_workspace(out, identity) as work:
        work.mark_whole(folder, {})  # somebody who can write there can do that as well
    with pytest.raises(StoreCorrupt, match="expected tensors alone in"):
        finetune_causal(papers(), options(base), out)
    assert not trap.exists()


# ---- memory and numbers ---------------------------------------------------------------------------------------------


def test_out_of_memory_halves_the_micro_batch(
    base: Path, undisturbed: TrainingReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit(monkeypatch, rows=1)
    report = finetune_causal(papers(), options(base, micro_tokens=128), tmp_path / "out")
    assert [note for note in report.notes if "micro-batch halved to 1, in the same batch of 4" in note]
    for ours, theirs in zip(report.losses[1:], undisturbed.losses[1:], strict=True):
        assert ours.train == pytest.approx(theirs.train, rel=1e-4)


def test_one_row_that_does_not_fit(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _limit(monkeypatch, rows=0)
    with pytest.raises(EncoderError, match=r"expected memory for a micro-batch of 1, found too little .* take --lora"):
        finetune_causal(papers(), options(base), tmp_path / "out")


def _limit(monkeypatch: pytest.MonkeyPatch, *, rows: int) -> None:
    """Memory for so many rows at once."""
    whole = causal_trainer.CausalTrainer.compute_loss

    def limited(self: Any, model: Any, inputs: Any, **others: Any) -> Any:
        if len(inputs["input_ids"]) > rows:
            raise torch.OutOfMemoryError("out of memory, said the test")
        return whole(self, model, inputs, **others)

    monkeypatch.setattr(causal_trainer.CausalTrainer, "compute_loss", limited)


def test_a_loss_that_is_no_number_stops(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = causal_trainer.CausalTrainer.compute_loss

    def broken(self: Any, model: Any, inputs: Any, **others: Any) -> Any:
        loss = whole(self, model, inputs, **others)
        return loss * math.nan if self.state.global_step == 3 else loss

    monkeypatch.setattr(causal_trainer.CausalTrainer, "compute_loss", broken)
    out = tmp_path / "out"
    with pytest.raises(TrainingStopped, match=r"found nan at step 4; the checkpoint of step 3 is kept in"):
        finetune_causal(papers(), options(base), out, run=EVERY_STEP)
    assert (workspace_path(out) / "checkpoints" / "checkpoint-3" / "whole.json").exists()
    assert not out.exists()


def test_a_rehearsal_halves_the_micro_batch_as_the_training_does(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))  # where it is tried, not kept
    _limit(monkeypatch, rows=1)
    assert rehearse(finetune_causal, papers(), options(base, micro_tokens=128)).tokens_per_second > 0
    _limit(monkeypatch, rows=0)
    with pytest.raises(EncoderError, match=r"expected memory for a micro-batch of 1, found too little"):
        rehearse(finetune_causal, papers(), options(base))


def test_a_rehearsal_measures_and_leaves_nothing(base: Path, undisturbed: TrainingReport) -> None:
    found = rehearse(finetune_causal, papers(), options(base))
    assert found.n_tokens == undisturbed.n_tokens
    assert found.n_steps == undisturbed.losses[-1].step
    assert found.tokens_per_second > 0
    assert found.seconds == pytest.approx(found.n_tokens / found.tokens_per_second)
    assert found.peak_bytes > 10**6
    assert found.disk_bytes > 10**3
