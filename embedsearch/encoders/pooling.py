"""From the hidden states of tokens to one vector a text, on torch."""

from __future__ import annotations

import torch

from embedsearch.encoders.protocol import Pooling


def mask_from_lengths(lengths: torch.Tensor, width: int) -> torch.Tensor:
    """(b, width) bool, True on the first lengths[i] tokens of row i.

    Never made from the pad id, which is a real token of some models: LLaMA's and SmolLM2's pad ends or begins texts.
    """
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def pool(hidden: torch.Tensor, lengths: torch.Tensor, *, pooling: Pooling, has_bos: bool) -> torch.Tensor:
    """One vector a text, (b, h) float32, not yet of unit length.

    `hidden` is (b, t, h) of any floating dtype with padding on the right, `lengths` (b,) integers >= 1. `has_bos`: the
    tokenizer put a [BOS] before each text. A text of nothing but [BOS] keeps it: there is nothing else to average.
    """
    rows = torch.arange(len(lengths), device=hidden.device)
    if pooling is Pooling.CLS:
        return hidden[:, 0].float()
    if pooling is Pooling.LAST_TOKEN:
        return hidden[rows, lengths - 1].float()
    keep = mask_from_lengths(lengths, hidden.shape[1])
    if pooling is Pooling.MEAN_WITHOUT_BOS and has_bos:
        keep[:, 0] = lengths == 1
    # where, not a product: a NaN in the padding times zero is NaN.
    kept = torch.where(keep[..., None], hidden.float(), 0.0)
    return kept.sum(dim=1) / keep.sum(dim=1, keepdim=True)
