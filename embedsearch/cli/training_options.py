"""The options of finetune: those of both objectives, and those of one, whose defaults are its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

SHARED = ("revision", "epochs", "learning_rate", "warmup", "schedule", "weight_decay", "lora", "validation", "seed",
          "device", "dtype")  # fmt: skip
"""What both objectives have; None where the objective's own default is to be taken."""
OWN = {
    "causal": ("base", "context", "token_budget", "micro_tokens", "merge", "gradient_checkpointing", "template"),
    "contrastive": (
        "pairs", "batch", "micro_batch", "scale", "symmetric", "max_tokens", "dropout", "mix", "near_duplicate",
    ),
}  # fmt: skip


def of_objective(objective: str | None = None) -> list[str]:
    """The names of the options of one objective alone; without one, of both, but for --template, which others have."""
    if objective is not None:
        return list(OWN[objective])
    return [name for names in OWN.values() for name in names if name != "template"]


_POSITIVE = click.IntRange(min=1)
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--revision",), {"help": "Commit, tag or branch of a hub model."}),
    (
        ("--epochs",),
        {
            "type": click.FloatRange(min=0, min_open=True),
            "help": "Passes over the papers. [default: 3 for causal, 1 for contrastive]",
        },
    ),
    (
        ("--learning-rate",),
        {
            "type": click.FloatRange(min=0, min_open=True),
            "help": "The highest, after warming up. [default: by objective, and higher for --lora]",
        },
    ),
    (("--warmup",), {"type": click.FloatRange(0, 1), "help": "Share of the steps in which the rate rises."}),
    (("--schedule",), {"type": click.Choice(["cosine", "linear"]), "help": "How the rate falls. [default: cosine]"}),
    (("--weight-decay",), {"type": click.FloatRange(min=0)}),
    (
        ("--lora",),
        {
            "type": _POSITIVE,
            "metavar": "R",
            "help": "Train adapters of this rank in place of all weights.",
        },
    ),
    (("--validation",), {"type": click.FloatRange(0, 1), "help": "Share of the papers held out. [default: 0.1]"}),
    (
        ("--device",),
        {"envvar": "EMBEDSEARCH_DEVICE", "metavar": "auto|cpu|cuda|mps", "help": "Where to train. [default: auto]"},
    ),
    (
        ("--dtype",),
        {
            "type": click.Choice(["auto", "float32", "bfloat16"]),
            "envvar": "EMBEDSEARCH_DTYPE",
            "help": "Precision of the passes; weights stay float32. auto: bfloat16 where the hardware has it.",
        },
    ),
    (("--base",), {"metavar": "MODEL", "help": "causal: the base of a --model that is an adapter."}),
    (("--context",), {"type": click.IntRange(min=2), "help": "causal: tokens in a block. [default: 512]"}),
    (("--token-budget",), {"type": _POSITIVE, "help": "causal: tokens in a step of the optimiser. [default: 4096]"}),
    (
        ("--micro-tokens",),
        {
            "type": _POSITIVE,
            "help": "causal: tokens that go through at once; less takes less memory.",
        },
    ),
    (
        ("--merge/--no-merge",),
        {"default": None, "help": "causal: with --lora, a whole model, or the adapter alone. [default: merge]"},
    ),
    (
        ("--gradient-checkpointing",),
        {"is_flag": True, "default": None, "help": "causal: less memory, for a third more time."},
    ),
    (
        ("--pairs",),
        {
            "type": click.Choice(["title", "halves", "both"]),
            "help": "contrastive: title and abstract, two halves of an abstract, or both. [default: title]",
        },
    ),
    (
        ("--batch-size", "batch"),
        {"type": click.IntRange(min=2), "help": "contrastive: pairs in a batch; each is the others' negative."},
    ),
    (
        ("--micro-batch",),
        {"type": _POSITIVE, "help": "contrastive: texts that go through at once; less takes less memory."},
    ),
    (
        ("--scale",),
        {"type": click.FloatRange(min=0, min_open=True), "help": "contrastive: one over the softmax's temperature."},
    ),
    (
        ("--symmetric/--one-way",),
        {"default": None, "help": "contrastive: abstracts look for their titles as well, or not."},
    ),
    (
        ("--max-tokens",),
        {
            "type": _POSITIVE,
            "help": "contrastive: texts are cut here in training alone.",
        },
    ),
    (
        ("--dropout/--no-dropout",),
        {"default": None, "help": "contrastive: whether activations are dropped, as the model's configuration says."},
    ),
    (
        ("--mix",),
        {
            "type": click.FloatRange(0, 1),
            "help": "contrastive: share of trained weights in the result; the rest is the base's. [default: 0.75; 1 of"
            " a language model]",
        },
    ),
    (
        ("--near-duplicates", "--near-duplicate", "near_duplicate"),
        {
            "type": click.FloatRange(0, 1, min_open=True),
            "metavar": "COSINE",
            "help": "contrastive: papers of this cosine, or of one title, are no negatives of each other, and on one"
            " side of the split. [default: 0.95]",
        },
    ),
)


def training_options(function: F) -> F:
    """How to train; all None where not given. --seed is of `paper_options`, and of the training too."""
    for names, settings in reversed(_OPTIONS):
        function = click.option(*names, **settings)(function)
    return function
