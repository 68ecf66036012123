"""Causal language modelling on abstracts: AstroLLaMA's recipe (Nguyen et al. 2023, arXiv:2309.06126), for any model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import Trainer

from embedsearch.encoders import Compute
from embedsearch.language.language_model import LanguageModel, open_language_model
from embedsearch.records import Paper
from embedsearch.store.atomic import check_writable
from embedsearch.training.causal.material import Material, identity_of, prepare
from embedsearch.training.causal.measured import as_losses, as_numbers, measures
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.causal.trainer import gathered, make_trainer, mean_loss, trainable, validate
from embedsearch.training.merging import check_peft, save_adapter, save_model, stored_dtype
from embedsearch.training.report import LossPoint, TrainingReport, with_last
from embedsearch.training.running import Job, Setting, Trained, needed_bytes, train
from embedsearch.training.watching import Progress
from embedsearch.training.workspace import RunOptions, Workspace, open_workspace

log = logging.getLogger("embedsearch")

MICRO_TOKENS = {"cpu": 512, "cuda": 8192, "mps": 2048}
"""Tokens that go through the model at once, by kind of device: their logits take more memory than all else."""


def finetune_causal(
    papers: Sequence[Paper],
    options: CausalOptions,
    out: Path,
    progress: Progress | None = None,
    *,
    run: RunOptions | None = None,
) -> TrainingReport:
    """Train a causal language model on the papers' abstracts, and write an ordinary model folder to `out`.

    A training that was stopped goes on where its last checkpoint was. Where `out` is its result already, its report
    comes back, marked as `already_complete`. Raises CorpusError for too few papers, and what `open_language_model`,
    `open_workspace` and `train` raise.
    """
    if options.lora is not None:
        check_peft()
    check_writable(out)
    model = _open(options)
    material = prepare(model, papers, options)
    with open_workspace(out, identity_of(model, material, options), run=run) as work:
        if work.finished is not None:
            return work.finished
        for note in material.notes:
            log.warning("%s", note)
        before = None
        if work.run.rehearsal_steps is None:  # else a few steps for their speed: nothing is kept, nothing measured
            work.check_space(needed_bytes(model.model), what="checkpoints and the model")
            before = work.once(
                "before", lambda: as_numbers(validate(model, material, options, progress, "measuring before"))
            )
        job = make_job(model, material, options, progress)
        # Where memory runs out the weights must not be kept here, while they are loaded again
        model = replace(model, model=None)
        done = train(work, job, run=work.run, progress=progress)
        return _finish(work, done, model, material, options, before, progress)


def _open(options: CausalOptions) -> LanguageModel:
    # autocast computes in less; weights are updated in float32
    return open_language_model(
        options.model,
        revision=options.revision,
        base=options.base,
        compute=Compute(device=options.device, dtype="float32"),
        merged=True,
    )


def make_job(model: LanguageModel, material: Material, options: CausalOptions, progress: Progress | None = None) -> Job:
    """The training as `train` takes it. The first trainer takes `model` itself, any other one loads it again."""
    fresh: list[LanguageModel] = [model]

    def make(setting: Setting) -> Trainer:
        base = fresh.pop() if fresh else _open(options)
        return make_trainer(base, setting, material, options, progress)

    micro = max(1, (options.micro_tokens or MICRO_TOKENS[model.device.type]) // options.context)
    return Job(
        make=make,
        batch=max(1, round(options.token_budget / options.context)),
        micro_batch=micro,
        seed=options.seed,
        device=options.device,
        dtype=options.dtype,
        n_tokens=material.n_tokens,
        advice="take --lora 16, --gradient-checkpointing or a shorter --context",
    )


def _finish(
    work: Workspace,
    done: Trained,
    model: LanguageModel,
    material: Material,
    options: CausalOptions,
    before: Any,
    progress: Progress | None,
) -> TrainingReport:
    trained = gathered(done.trainer, lambda: trainable(_open(options).model, options))
    bare = _report(work, done, material, options)
    if not work.is_main:
        return bare
    kept = work.folder / "adapter"
    if options.lora:
        save_adapter(trained, kept, model)
    plain = trained
    if options.lora:
        plain = trained.merge_and_unload() if options.merge else trained.get_base_model()
    is_whole = options.merge or not options.lora
    if is_whole:
        plain = plain.to(stored_dtype(model))  # what is measured is what is stored
    after = validate(replace(model, model=plain), material, options, progress, "measuring after")
    found, notes = measures(as_losses(before), after)
    first = LossPoint(0, 0.0, validation=mean_loss(as_losses(before)))
    report = replace(
        bare,
        measures=found,
        losses=(first, *with_last(done.losses, mean_loss(after))),
        notes=(*bare.notes, *notes),
    )

    def write(folder: Path) -> None:
        if is_whole:
            save_model(plain, folder, model)
        if options.lora:
            for path in kept.iterdir():
                target = folder / ("adapter" if is_whole else "") / path.name
                target.parent.mkdir(exist_ok=True)
                path.rename(target)

    work.place(write, report)
    return report


def _report(work: Workspace, done: Trained, material: Material, options: CausalOptions) -> TrainingReport:
    """What is known without measuring."""
    return TrainingReport(
        objective="causal",
        base=options.model,
        out=str(work.out),
        n_train=material.n_train,
        n_validation=len(material.validation),
        n_tokens=round(material.n_tokens * done.epochs),
        seconds=done.seconds,
        options=options.as_dict(),
        losses=done.losses,
        notes=(*material.notes, *done.notes),
        identity=work.identity,
    )
