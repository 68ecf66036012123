"""Documents in blocks: many short texts in rows of tokens, of which none sees another.

A row's positions start again at each document. transformers makes a block-diagonal mask of that where it is given no
mask and no cache; `attends_within` tells whether a model does.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from embedsearch.language.language_model import LanguageModel

IGNORED = -100
"""The label of a token that is in no loss."""

Document = list[int]


def documents(model: LanguageModel, texts: Sequence[str], *, context: int) -> list[Document]:
    """The tokens of each text, [BOS] before them where the tokenizer puts it, EOS behind them where there is one.

    A text longer than `context` tokens is cut into documents of at most that; a rest of one token, from which nothing
    can be learnt, is left out.
    """
    if not texts:
        return []
    made = []
    for ids in model.tokenizer(list(texts), verbose=False)["input_ids"]:
        if model.eos_id is not None and ids[-1:] != [model.eos_id]:
            ids = [*ids, model.eos_id]
        made += [ids[start : start + context] for start in range(0, len(ids), context)]
    return [document for document in made if len(document) > 1]


def pack(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Positions of documents in rows of at most `context` tokens: the longest first, each where it leaves least room.

    Best fit decreasing, so that no document is cut for it (Ding et al. 2024, arXiv:2404.10830).
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # room left, row: sorted
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect.bisect_left(rooms, (lengths[position], -1))
        if at < len(rooms):
            room, row = rooms.pop(at)
        else:
            room, row = context, len(rows)
            rows.append([])
        rows[row].append(position)
        bisect.insort(rooms, (room - lengths[position], row))
    return rows


@dataclass(frozen=True, slots=True)
class Collator:
    """Rows of documents as a batch of tensors: (rows, longest) int64 each of input_ids, position_ids and labels.

    The first token of a document is given, not predicted. Padding is a document of its own, which is in no loss.
    """

    pad_id: int

    def __call__(self, rows: Sequence[Sequence[Document]]) -> dict[str, torch.Tensor]:
        """What a causal model of transformers takes."""
        width = max(sum(map(len, row)) for row in rows)
        batch: dict[str, list[list[int]]] = {"input_ids": [], "position_ids": [], "labels": []}
        for row in rows:
            padding = width - sum(map(len, row))
            batch["input_ids"].append([id for document in row for id in document] + [self.pad_id] * padding)
            batch["labels"].append([id for d in row for id in (IGNORED, *d[1:])] + [IGNORED] * padding)
            batch["position_ids"].append([at for n in (*map(len, row), padding) for at in range(n)])
        return {name: torch.tensor(rows_of, dtype=torch.int64) for name, rows_of in batch.items()}


@torch.no_grad()
def attends_within(module: Any, *, n_vocabulary: int, n_tokens: int = 6) -> bool:
    """Whether two documents in one row get the logits that each has alone: found out on a few random tokens."""
    ids = torch.randint(n_vocabulary, (2, n_tokens), generator=torch.Generator().manual_seed(0)).tolist()
    device = next(module.parameters()).device
    packed = {name: tensor.to(device) for name, tensor in Collator(0)([ids]).items() if name != "labels"}
    logits = module(**packed, use_cache=False).logits[0, n_tokens:].float()
    alone = module(input_ids=torch.tensor(ids[1:], device=device), use_cache=False).logits[0].float()
    return bool(torch.allclose(logits, alone, atol=1e-3 * float(alone.abs().max()), rtol=0))
