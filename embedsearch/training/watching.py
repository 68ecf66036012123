"""What looks on while a trainer trains: has it save in time, stops it where it went wrong, tells how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from embedsearch.errors import TrainingStopped
from embedsearch.training.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """How far a training is: `stage` is a phrase for people, `done` of `total` are its steps.

    `n_tokens` were trained on in this run, in `seconds`; `loss` is the last one.
    """

    stage: str
    done: int
    total: int
    n_tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None


Progress = Callable[[TrainingStep], None]


class Watcher(TrainerCallback):
    """Looks on while a trainer trains: stops it, has it save in time, tells how far it is."""

    def __init__(
        self, work: Workspace, *, n_tokens: int, minutes: float, micro_batch: int, progress: Progress | None
    ) -> None:
        self.seconds_before = 0.0
        self._work, self._n_tokens, self._minutes, self._progress = work, n_tokens, minutes, progress
        self._micro = micro_batch
        self._began = self._saved = time.monotonic()
        self._first_step = 0
        self._loss: float | None = None

    @property
    def seconds(self) -> float:
        """Of this run and those before that it goes on from."""
        return self.seconds_before + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = self._saved = time.monotonic()
        self._first_step = state.global_step
        self._tell(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        # Before the trainer saves: a step that is not finite gets no checkpoint.
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise TrainingStopped(self._not_finite(name, value, state.global_step))
        if logs and "loss" in logs:
            self._loss = float(logs["loss"])

    def _not_finite(self, name: str, value: float, step: int) -> str:
        kept = self._work.last_checkpoint(before_step=step)
        where = f"the checkpoint of step {kept.step} is kept in {kept.folder}" if kept else "no checkpoint was due yet"
        what = "loss" if name == "loss" else "gradient"
        return (
            f"expected a finite {what}, found {value} at step {step}; {where}: begin again "
            "with a lower --learning-rate and --overwrite"
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # All processes save, or none: the main one's clock decides
        due = [time.monotonic() - self._saved >= 60 * self._minutes]
        if PartialState().num_processes > 1:
            broadcast_object_list(due)
        if due[0]:
            control.should_save = True
        self._tell(state)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        PartialState().wait_for_everyone()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._work.is_main and folder.exists():
            note = {"seconds": self.seconds, "micro_batch": self._micro}
            self._work.mark_whole(folder, note)
        self._saved = time.monotonic()

    def _tell(self, state: Any) -> None:
        if self._progress is None or not self._work.is_main:
            return
        share = (state.global_step - self._first_step) / max(1, state.max_steps)
        self._progress(
            TrainingStep(
                stage="training",
                done=state.global_step,
                total=state.max_steps,
                n_tokens=round(share * state.num_train_epochs * self._n_tokens),
                seconds=time.monotonic() - self._began,
                loss=self._loss,
            )
        )


class Stopwatch(TrainerCallback):
    """Ends a training after so many steps, and has the moments at which each was done."""

    def __init__(self, n_steps: int) -> None:
        self.moments: list[float] = []
        self._n_steps = n_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time."""
        self.moments.append(time.monotonic())
        if len(self.moments) >= self._n_steps:
            control.should_training_stop = True
