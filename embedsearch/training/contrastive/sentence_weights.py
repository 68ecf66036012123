"""The weights of a sentence model: adapters put into them and merged, and a mean of two of them."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from embedsearch.encoders import Pooling
from embedsearch.encoders.folder import Model

USUAL_MIX = 0.75
"""Of a model that was made to embed: what it knew of other questions is worth keeping (docs/adapt.md)."""


def add_lora(model: Any, rank: int) -> None:
    """Freeze the weights of a sentence-transformers model, and put low-rank adapters beside all of its linear layers.

    Hu et al. 2021, arXiv:2106.09685; scaled by 2, without dropout.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft reads a name that transformers will give up
        model[0].model = get_peft_model(model[0].model, config)


def merge_lora(model: Any) -> None:
    """Add the adapters' change to the weights, and take the adapters away."""
    model[0].model = model[0].model.merge_and_unload()


def mix(trained: torch.nn.Module, base: torch.nn.Module, share: float) -> None:
    """Set the weights of `trained` to `share` of themselves and the rest of `base`'s, in place.

    Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv:2109.01903.
    """
    weights = dict(base.named_parameters())
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            parameter.lerp_(weights[name].to(parameter), 1 - share)


def usual_mix(base: Model) -> float:
    """The share of trained weights where none is asked for: a language model has nothing to keep for search."""
    return 1.0 if base.recipe.pooling is Pooling.MEAN_WITHOUT_BOS else USUAL_MIX
