"""Around transformers' Trainer (sentence-transformers' is one): going on, stopping, memory and progress.

The objectives make the trainer; this module runs it. Nothing here knows what is trained.
"""

from __future__ import annotations

import gc
import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback

from embedsearch.device import pick_device, pick_dtype
from embedsearch.encoders.loading import quiet
from embedsearch.errors import EncoderError, OptionError, StoreCorrupt, StoreError, TrainingStopped
from embedsearch.training.report import LossPoint, loss_points
from embedsearch.training.watching import Progress, Stopwatch, Watcher
from embedsearch.training.workspace import Checkpoint, RunOptions, Workspace

log = logging.getLogger("embedsearch")

KEPT = 2
"""Checkpoints: one more is on the disk while it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an objective makes its trainer with: keyword arguments of TrainingArguments, callbacks, the micro-batch.

    `micro_batch` examples go through the model at once; `accumulation` times that makes an optimiser step.
    """

    micro_batch: int
    accumulation: int
    arguments: Mapping[str, Any]
    callbacks: Sequence[TrainerCallback]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training to be run. `make` makes a trainer with the base model anew, each time that it is called.

    `batch` examples make an optimiser step (of all processes); where the objective needs no accumulation, it ignores
    it. `n_tokens` are those of one epoch, `advice` what can be done where even one example does not fit.
    """

    make: Callable[[Setting], Trainer]
    batch: int
    micro_batch: int
    seed: int
    device: str = "auto"
    dtype: str = "auto"
    n_tokens: int = 0
    advice: str = "shorten the texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trainer that is done. `seconds` are of all runs that the training took, `epochs` the passes in it."""

    trainer: Trainer
    losses: tuple[LossPoint, ...]
    seconds: float
    epochs: float
    n_steps: int
    micro_batch: int
    notes: tuple[str, ...]


class Rehearsed(Exception):
    """Ends a training of which only the speed was asked. `n_tokens` and `n_steps` are of all epochs."""

    def __init__(
        self, *, n_tokens: int, n_steps: int, tokens_per_second: float, disk_bytes: int, device: torch.device
    ) -> None:
        super().__init__(f"{tokens_per_second} tokens/s")
        self.n_tokens, self.n_steps, self.tokens_per_second = n_tokens, n_steps, tokens_per_second
        self.disk_bytes, self.device = disk_bytes, device


def train(work: Workspace, job: Job, *, run: RunOptions, progress: Progress | None = None) -> Trained:
    """Train, from the last whole checkpoint if there is one, and halve the micro-batch where memory runs out.

    Raises TrainingStopped for a loss that is not finite (checkpoints stay), EncoderError where one example does not fit
    into memory, StoreError for a full disk, StoreCorrupt for a checkpoint that cannot be read.
    """
    micro = min(job.micro_batch, job.batch)
    notes: list[str] = []
    while True:
        if run.rehearsal_steps is None:
            found = _attempt(work, job, micro, run, progress)
        else:
            found = _rehearsed(work, job, micro, run.rehearsal_steps)
        if isinstance(found, Trained):
            return replace(found, notes=tuple(notes))
        if micro == 1 or PartialState().num_processes > 1:
            raise EncoderError(
                f"expected memory for a micro-batch of {micro}, found too little ({found}); {job.advice}"
            )
        micro //= 2
        notes.append(f"out of memory: micro-batch halved to {micro}, in the same batch of {job.batch}")
        log.warning("%s", notes[-1])
        gc.collect()
        torch.cuda.empty_cache()  # nothing, where there is none


def _rehearsed(work: Workspace, job: Job, micro: int, n_steps: int) -> str:
    """What the system said, if memory ran out; else raises Rehearsed.

    Some steps from the start; the first is slower, and not counted where there are others.
    """
    watch = Stopwatch(n_steps)
    try:
        with quiet():
            trainer = _made(job, _setting(work, job, micro, watch))
            trainer.args.eval_strategy = trainer.args.save_strategy = "no"
            began = time.monotonic()
            trainer.train()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return _first_line(error)
        raise
    moments = watch.moments if len(watch.moments) > 1 else [began, *watch.moments]
    seconds = (moments[-1] - moments[0]) / (len(moments) - 1)
    n_tokens = round(job.n_tokens * trainer.state.num_train_epochs)
    n_steps = int(trainer.state.max_steps)
    raise Rehearsed(
        n_tokens=n_tokens,
        n_steps=n_steps,
        tokens_per_second=n_tokens / n_steps / seconds,
        disk_bytes=needed_bytes(trainer.model),
        device=trainer.args.device,
    )


def _made(job: Job, setting: Setting) -> Trainer:
    trainer = job.make(setting)
    trainer.remove_callback(PrinterCallback)  # it would print each step to stdout
    shared_out = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if shared_out is not None and "FULL" not in str(shared_out.state_dict_type):
        raise OptionError(
            "expected whole checkpoints of FSDP, found sharded ones, whose index is pickled: set "
            "fsdp_state_dict_type to FULL_STATE_DICT"
        )
    return trainer


def _attempt(work: Workspace, job: Job, micro: int, run: RunOptions, progress: Progress | None) -> Trained | str:
    """Train with this micro-batch; what the system said, if memory ran out."""
    watcher = Watcher(work, n_tokens=job.n_tokens, minutes=run.checkpoint_minutes, micro_batch=micro, progress=progress)
    checkpoint: Checkpoint | None = None
    try:
        with quiet():
            trainer = _made(job, _setting(work, job, micro, watcher))
            PartialState().wait_for_everyone()  # the main process has put the workspace in order
            work.check_space(needed_bytes(trainer.model), what="checkpoints and the model")
            checkpoint = work.last_checkpoint()
            work.drop_cut_off()
            if checkpoint is not None:
                watcher.seconds_before = float(checkpoint.note.get("seconds", 0.0))
                log.warning("going on from step %d", checkpoint.step)
            trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    except (RuntimeError, MemoryError, OSError, SafetensorError, pickle.UnpicklingError) as error:
        if is_out_of_memory(error):
            return _first_line(error)
        raise _named(error, work, checkpoint) from error
    return Trained(
        trainer=trainer,
        losses=loss_points(trainer.state.log_history),
        seconds=watcher.seconds,
        epochs=float(trainer.state.epoch or 0.0),
        n_steps=int(trainer.state.global_step),
        micro_batch=micro,
        notes=(),
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _named(error: BaseException, work: Workspace, checkpoint: Checkpoint | None) -> BaseException:
    """What a user can do with it; a programmer's mistake stays what it is."""
    if isinstance(error, pickle.UnpicklingError):
        where = checkpoint.folder if checkpoint else work.checkpoints
        return StoreCorrupt(f"expected tensors alone in {where}, found something else; remove it and go on without it")
    if isinstance(error, (StoreError, TrainingStopped, EncoderError, OptionError)):
        return error
    if isinstance(error, (OSError, SafetensorError)) or "PytorchStreamWriter" in str(error):
        found = f"found: {_first_line(error)}; the last whole checkpoint is kept"
        return StoreError(f"expected to write {work.folder}, {found}")
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or here: torch has no class of its own for the latter."""
    words = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )


def _setting(work: Workspace, job: Job, micro: int, watcher: TrainerCallback) -> Setting:
    device = pick_device(job.device)
    processes = PartialState(cpu=device.type == "cpu").num_processes
    arguments = {
        "output_dir": str(work.checkpoints),
        "per_device_train_batch_size": micro,
        "seed": job.seed,
        "data_seed": job.seed,
        "use_cpu": device.type == "cpu",
        "bf16": pick_dtype(job.dtype, device) is torch.bfloat16,
        "save_strategy": "epoch",
        "save_total_limit": KEPT,
        "logging_strategy": "steps",
        "logging_steps": 1,  # so that the curve of a training that was stopped is the same, step by step
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
        "dataloader_pin_memory": device.type == "cuda",
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
    }
    accumulation = max(1, round(job.batch / (micro * processes)))
    return Setting(micro_batch=micro, accumulation=accumulation, arguments=arguments, callbacks=[watcher])


def one_device(arguments: Any) -> Any:
    """TrainingArguments that use one GPU a process: torch's DataParallel would split packed rows, and is slow."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def needed_bytes(model: Any) -> int:
    """What the disk must hold: three checkpoints (weights that are trained, and AdamW's two states) and the result."""
    n_all = sum(p.numel() for p in model.parameters())
    n_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return 4 * int((KEPT + 1) * 3 * n_trained + n_all)
