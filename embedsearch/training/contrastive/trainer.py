"""sentence-transformers' trainer, set up for pairs. Imports it, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from transformers import PrinterCallback

from embedsearch.duplicates.links import Groups
from embedsearch.encoders.loading import quiet
from embedsearch.training.contrastive.options import ContrastiveOptions
from embedsearch.training.contrastive.pairs import Pair
from embedsearch.training.contrastive.sampling import batches_apart, largest_batch
from embedsearch.training.running import Setting, one_device

WEIGHTS_NAME = "model.safetensors"


class PairTrainer(SentenceTransformerTrainer):
    """The trainer, whose checkpoints hold the weights that are trained and nothing else of the model."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: it asks the hub about the base model, and the card is written by others."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: p.detach().cpu().contiguous() for name, p in _trained(self.model).items()}, folder / WEIGHTS_NAME
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        found = load_file(Path(resume_from_checkpoint) / WEIGHTS_NAME)
        with torch.no_grad():
            for name, parameter in _trained(self.model).items():
                parameter.copy_(found[name])


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def make_trainer(
    model: SentenceTransformer,
    options: ContrastiveOptions,
    setting: Setting,
    *,
    train: Sequence[Pair],
    validation: Sequence[Pair],
    groups: Groups,
    is_new: bool = True,
) -> SentenceTransformerTrainer:
    """The trainer of `model` on the pairs `train`, with a loss on `validation` at the beginning and on the way.

    `groups` (n_papers,) int64 are of the papers that all pairs name by position. The last batch of an epoch is left out
    where it is not full, so that every pair has the same number of negatives. `is_new`: goes on from no checkpoint.
    """
    n_processes = PartialState().num_processes
    batch, eval_batch = (
        n - n % n_processes for n in (batch_size(train, groups, options), batch_size(validation, groups, options))
    )
    steps, has_validation = len(train) // batch, eval_batch >= 2
    arguments = dict(setting.arguments) | {
        "per_device_train_batch_size": batch,
        "per_device_eval_batch_size": max(1, eval_batch),
        # Each process takes a part of every batch, and gathers the others' texts: no pair meets one of its group.
        "accelerator_config": {"split_batches": n_processes > 1},
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": options.warmup if options.warmup < 1 else steps,
        "weight_decay": options.weight_decay,
        "eval_strategy": "steps" if has_validation else "no",
        "eval_steps": max(1, round(steps / options.evaluations)),
        "eval_on_start": has_validation and is_new,
        "dataloader_drop_last": True,
        "batch_sampler": batches_apart([*train, *validation], groups),
    }
    with quiet():
        trainer = PairTrainer(
            model=model,
            args=one_device(SentenceTransformerTrainingArguments(**arguments)),
            train_dataset=_dataset(train),
            eval_dataset=_dataset(validation) if has_validation else None,
            loss=_loss(model, options, micro_batch=setting.micro_batch, batch=batch // n_processes),
            callbacks=list(setting.callbacks),
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def batch_size(pairs: Sequence[Pair], groups: Groups, options: ContrastiveOptions) -> int:
    """The pairs in a batch: as asked for, or as many as can stand in one."""
    return min(options.batch, largest_batch(pairs, groups))


def _dataset(pairs: Sequence[Pair]) -> Dataset:
    return Dataset.from_dict({"anchor": [p.anchor for p in pairs], "positive": [p.positive for p in pairs]})


def _loss(model: SentenceTransformer, options: ContrastiveOptions, *, micro_batch: int, batch: int) -> torch.nn.Module:
    """With cached gradients, which cost a forward pass more, only where the batch is too large for one."""
    both_ways = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    shared: dict[str, Any] = {"scale": options.scale, "gather_across_devices": PartialState().num_processes > 1}
    shared |= both_ways if options.symmetric else {}
    loss: torch.nn.Module
    if micro_batch >= batch:
        loss = MultipleNegativesRankingLoss(model, **shared)
    else:
        loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=micro_batch, **shared)
    return loss
