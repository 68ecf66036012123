"""A contrastive training, from papers to a model folder: titles are to find their abstracts.

The split is made before any pair, by hash of the paper's id, with near-duplicates on one side; these are never each
other's negatives; what must not get worse is measured before and after.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from embedsearch.corpus import sample_key
from embedsearch.device import pick_device
from embedsearch.encoders import Compute, ModelSpec
from embedsearch.encoders.folder import Model, read_model
from embedsearch.encoders.loading import load_tokenizer
from embedsearch.encoders.tokens import Tokenizer
from embedsearch.encoders.transformer import TransformerEncoder
from embedsearch.records import Paper
from embedsearch.store.atomic import remove
from embedsearch.training.contrastive.guards import compare, fallen, measure, n_texts
from embedsearch.training.contrastive.options import ContrastiveOptions
from embedsearch.training.contrastive.pairs import abstract_of
from embedsearch.training.contrastive.plan import (
    Plan,
    base_model,
    check_papers,
    find_groups,
    identity_of,
    make_plan,
    training_limit,
)
from embedsearch.training.contrastive.sentence_model import leaves_out_bos, open_sentence_model, save_sentence_model
from embedsearch.training.contrastive.sentence_weights import add_lora, merge_lora, mix, usual_mix
from embedsearch.training.contrastive.trainer import batch_size, make_trainer
from embedsearch.training.merging import check_peft
from embedsearch.training.report import TrainingReport
from embedsearch.training.running import Job, Setting, Trained, train
from embedsearch.training.watching import Progress, TrainingStep
from embedsearch.training.workspace import RunOptions, Workspace, open_workspace

__all__ = ["ContrastiveOptions", "finetune_contrastive"]

BOS_NOTE = "the mean leaves out the [BOS] here; in sentence-transformers, which cannot, the folder's vectors have it in"


def finetune_contrastive(
    papers: Sequence[Paper],
    options: ContrastiveOptions,
    out: Path,
    progress: Progress | None = None,
    *,
    run: RunOptions | None = None,
) -> TrainingReport:
    """Train the model of `options` on pairs of texts of `papers`, and write it to the folder `out`.

    Goes on with what a run of the same training left; a finished one is left alone (`already_complete`). What got worse
    by more than chance is said in the report's notes. Raises CorpusError where there is nothing to pair, EncoderError
    for a model that cannot be trained, and what `open_workspace` and `train` raise.
    """
    if options.lora is not None:
        check_peft()
    model = base_model(options)
    if options.mix is None:
        options = replace(options, mix=usual_mix(model))
    # Not the corpus's order: the same papers in another are the same training.
    papers = sorted((p for p in papers if abstract_of(p)), key=lambda paper: sample_key(paper.id, options.seed))
    check_papers(papers, options)
    with open_workspace(Path(out), identity_of(model, papers, options), run=run) as work:
        if work.finished is not None:
            return work.finished
        # Said at its first use, or processes on CPUs would not know of each other.
        PartialState(cpu=pick_device(options.device).type == "cpu")
        tell = progress or (lambda step: None)
        rehearses = work.run.rehearsal_steps is not None  # a few steps for their speed: nothing is measured
        looking = None if rehearses else _counted(tell, "looking for near-duplicates", len(papers))
        found = _everywhere(work.once("groups", lambda: find_groups(model, papers, options, looking)))
        task = _Task(work=work, model=model, options=options, plan=make_plan(model, papers, options, found), tell=tell)
        before = {} if rehearses else work.once("before", lambda: task.measured(model, "measuring before"))
        trained = train(work, task.job(), run=work.run, progress=progress)
        report = task.report(trained)
        return task.finish(trained, report, before) if work.is_main else report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A training that is planned."""

    work: Workspace
    model: Model
    options: ContrastiveOptions
    plan: Plan
    tell: Progress

    def job(self) -> Job:
        return Job(
            make=self.make,
            batch=batch_size(self.plan.train, self.plan.groups, self.options),
            micro_batch=self.options.micro_batch,
            seed=self.options.seed,
            device=self.options.device,
            dtype=self.options.dtype,
            n_tokens=self.n_tokens(),
            advice="lower --max-tokens",
        )

    def n_tokens(self) -> int:
        """Of the pairs of an epoch, cut as they are in training; the last batch is left out where it is not full."""
        pairs = self.plan.train
        texts = [text for pair in pairs for text in (pair.anchor, pair.positive)]
        left_out = len(pairs) % batch_size(pairs, self.plan.groups, self.options)
        limit = training_limit(self.model, self.options)
        rows, _ = Tokenizer(load_tokenizer(self.model), max_tokens=limit, lower_case=self.model.lower_case)(texts)
        return round(int(rows.offsets[-1]) * (1 - left_out / len(pairs)))

    def make(self, setting: Setting) -> Any:
        torch.manual_seed(self.options.seed)  # adapters draw their first weights before the trainer sets a seed
        built = self.opened()
        if self.options.lora is not None:
            add_lora(built, self.options.lora)
        sides = {"train": self.plan.train, "validation": self.plan.validation}
        is_new = self.work.run.rehearsal_steps is None and self.work.last_checkpoint() is None
        return make_trainer(built, self.options, setting, groups=self.plan.groups, is_new=is_new, **sides)

    def opened(self) -> Any:
        """The base model as sentence-transformers has it."""
        return open_sentence_model(
            self.model,
            max_tokens=training_limit(self.model, self.options),
            device=pick_device(self.options.device),
            scratch=self.work.folder / "base",
            dropout=self.options.dropout,
        )

    def measured(self, model: Model, stage: str) -> dict[str, list[float]]:
        """What `measure` gives, as JSON can hold it."""
        encoder = TransformerEncoder(model, compute=Compute(device=self.options.device, dtype=self.options.dtype))
        told = _counted(self.tell, stage, n_texts(self.plan.trials))
        return {name: values.tolist() for name, values in measure(encoder, self.plan.trials, progress=told).items()}

    def report(self, trained: Trained) -> TrainingReport:
        plan, options = self.plan, self.options
        return TrainingReport(
            objective="contrastive",
            base=options.model,
            out=str(self.work.out),
            n_train=len({pair.paper for pair in plan.train}),
            n_validation=len({pair.paper for pair in plan.validation}),
            n_tokens=round(self.n_tokens() * trained.epochs),
            seconds=trained.seconds,
            options=options.as_dict() | {"micro_batch": trained.micro_batch},
            losses=trained.losses,
            notes=(*plan.notes, *trained.notes),
            identity=self.work.identity,
        )

    def finish(self, trained: Trained, report: TrainingReport, before: Mapping[str, list[float]]) -> TrainingReport:
        """Put the weights together, measure them, and place the folder."""
        made = self.work.folder / "trained"
        built: Any = trained.trainer.model
        if self.options.lora is not None:
            merge_lora(built)
        if (share := self.options.mix) is not None and share < 1:
            mix(built, self.opened(), share)
        remove(made)
        save_sentence_model(built, self.model, made)
        after = self.measured(read_model(ModelSpec(name=str(made))), "measuring after")
        measures = compare(_arrays(before), _arrays(after))
        bos = [BOS_NOTE] if leaves_out_bos(self.model, load_tokenizer(self.model)) else []
        report = replace(report, measures=tuple(measures), notes=(*report.notes, *bos, *fallen(measures)))
        self.work.place(lambda folder: _move(made, folder), report)
        return report


def _arrays(values: Mapping[str, list[float]]) -> dict[str, Any]:
    return {name: np.array(row, np.float64) for name, row in values.items()}


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        os.replace(path, target / path.name)


def _counted(tell: Progress, stage: str, total: int) -> Callable[[int], None]:
    """A callback that adds up the texts that it is told of."""
    done = 0

    def told(n_texts: int) -> None:
        nonlocal done
        done += n_texts
        tell(TrainingStep(stage=stage, done=done, total=total))

    return told


def _everywhere(value: Any) -> Any:
    """The main process's value, in all of them."""
    held = [value]
    if PartialState().num_processes > 1:
        broadcast_object_list(held)
    return held[0]
