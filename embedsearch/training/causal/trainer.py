"""The trainer of a causal training, and how it is validated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers import Trainer, TrainingArguments

from embedsearch.device import pick_dtype
from embedsearch.language.language_model import LanguageModel
from embedsearch.language.perplexity import Losses, paper_losses
from embedsearch.training.causal.material import Material
from embedsearch.training.causal.options import CausalOptions
from embedsearch.training.causal.packing import Collator
from embedsearch.training.merging import with_adapters
from embedsearch.training.running import Setting, one_device
from embedsearch.training.watching import Progress, TrainingStep


def validate(
    model: LanguageModel, material: Material, options: CausalOptions, progress: Progress | None, stage: str
) -> Losses:
    """The losses of the held-out texts, whole, in the precision that the training computes in."""

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(TrainingStep(stage=stage, done=done, total=total))

    was_training = model.model.training
    model.model.eval()
    try:
        with _autocast(model.device, options):
            return paper_losses(model, material.validation, progress=tell)
    finally:
        model.model.train(was_training)


def _autocast(device: torch.device, options: CausalOptions) -> contextlib.AbstractContextManager[Any]:
    dtype = pick_dtype(options.dtype, device)
    return contextlib.nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype)


class CausalTrainer(Trainer):
    """Transformers' Trainer, validated on whole texts, token by token, as `perplexity` measures them."""

    def __init__(self, *, losses_of: Callable[[Any], Losses], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._losses_of = losses_of

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """The loss a token of the validation texts, logged as the trainer's own; not at the end, which `after` is."""
        # Shared out among processes (FSDP), the model has no whole layers that could be asked one by one
        if self.state.global_step >= self.state.max_steps or self.is_fsdp_enabled:
            return {}
        losses = self._losses_of(self.model)
        metrics = {f"{metric_key_prefix}_loss": mean_loss(losses)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def mean_loss(losses: Losses) -> float:
    """Nats a token."""
    return float(losses.nats.sum() / max(1, losses.n_tokens.sum()))


def make_trainer(
    model: LanguageModel, setting: Setting, material: Material, options: CausalOptions, progress: Progress | None
) -> Trainer:
    module = trainable(model.model, options)
    if options.gradient_checkpointing:
        checkpoint_activations(module)

    def losses_of(trained: Any) -> Losses:
        plain = trained.get_base_model() if options.lora and hasattr(trained, "get_base_model") else trained
        return validate(replace(model, model=plain), material, options, progress, "validating")

    arguments = TrainingArguments(
        **setting.arguments,
        gradient_accumulation_steps=setting.accumulation,
        num_train_epochs=options.epochs,
        learning_rate=options.rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,  # transformers leaves norms and biases out
        adam_beta2=options.beta2,
        max_grad_norm=options.clip,
        eval_strategy="epoch" if material.validation else "no",
    )
    return CausalTrainer(
        model=module,
        args=one_device(arguments),
        train_dataset=material.rows,
        eval_dataset=material.rows[:1],  # the trainer wants one; `evaluate` takes the texts
        data_collator=Collator(model.pad_id),
        callbacks=list(setting.callbacks),
        losses_of=losses_of,
    )


def checkpoint_activations(module: Any) -> None:
    """Compute activations again in the backward pass instead of keeping them, under the name that transformers has."""
    enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def trainable(module: Any, options: CausalOptions) -> Any:
    """The model with its adapters, if those are trained: the same ones for the same seed."""
    transformers.set_seed(options.seed)
    if options.lora:
        return with_adapters(module, options.lora, options.alpha)
    return module.requires_grad_(True)  # peft leaves weights frozen that an adapter was merged into


def gathered(trainer: Any, fresh: Callable[[], Any]) -> Any:
    """The trained model, whole, as `trainable` made it.

    Where it is shared out among processes (FSDP) all of them must call this: the main one puts the weights of all into
    what `fresh` gives; the others get None.
    """
    if not trainer.is_fsdp_enabled:
        return trainer.accelerator.unwrap_model(trainer.model)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.is_world_process_zero():
        return None
    module = fresh()
    module.load_state_dict(weights)
    return module
