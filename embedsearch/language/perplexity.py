"""How well a language model predicts texts: the loss of every token, summed by text.

What is scored: every token of the text itself. Special tokens that a tokenizer puts behind a text are left away. Where
the tokenizer puts [BOS] first, the first token is predicted from it, as all others are. Where it does not, the first
token is given, not predicted, and neither its loss nor its bytes count.

A text that is longer than the model's context is read in windows that overlap by half: each token is predicted once,
from at least half a context except at the start. Nothing is cut.

Padding stands behind the tokens, where a causal model cannot see it, and is never scored: batch size and padding side
change nothing but the last digits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedsearch.encoders.batching import n_padded_tokens
from embedsearch.encoders.pooling import mask_from_lengths
from embedsearch.encoders.tokens import TokenRows
from embedsearch.encoders.transformer import TOKEN_BUDGETS, _out_of_memory
from embedsearch.errors import EncoderError
from embedsearch.language.language_model import LanguageModel
from embedsearch.language.pieces import Counts, Pieces, to_pieces, tokenised

log = logging.getLogger("embedsearch")

Progress = Callable[[int, int], None]
"""Called after each batch with the tokens that are done and all there are."""

CHUNK_NUMBERS = 2**24
"""Logits in float32 at a time, 64 MiB: of a vocabulary of 49,152 some 340 tokens."""
WHOLE_NUMBERS = 2**27
"""Logits of a pass, where a model's head cannot be taken apart from it."""

MOST_NATS = 700
"""For a token: exp of more is no number. By chance alone a token of 50,000 costs 11."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What n texts cost a model, an entry a text.

    `nats` is (n,) float64, the sum of the losses of its predicted tokens; `n_tokens` (n,) int64 counts those, and
    `n_bytes` (n,) int64 their UTF-8. `first_nats`, `first_tokens` and `first_bytes` are the first token's share of
    them, all 0 where it is given. `n_windows` (n,) int64 is above 1 for a text longer than the context. `n_unknown`
    (n,) int64 are tokens that stand for whatever the tokenizer does not know: what they say is lost, and costs nothing.
    """

    nats: NDArray[np.float64]
    n_tokens: NDArray[np.int64]
    n_bytes: NDArray[np.int64]
    first_nats: NDArray[np.float64]
    first_tokens: NDArray[np.int64]
    first_bytes: NDArray[np.int64]
    n_windows: NDArray[np.int64]
    n_unknown: NDArray[np.int64]

    @property
    def predicts_first(self) -> bool:
        """Whether the first token of a text is predicted, from [BOS]."""
        return bool(self.first_tokens.any())

    def without_first(self) -> Losses:
        """As if the first token of every text were given: beside a model without [BOS] the fair figure."""
        none = np.zeros_like(self.n_tokens)
        return replace(
            self,
            nats=self.nats - self.first_nats,
            n_tokens=self.n_tokens - self.first_tokens,
            n_bytes=self.n_bytes - self.first_bytes,
            first_nats=np.zeros_like(self.first_nats),
            first_tokens=none,
            first_bytes=none,
        )


def perplexity(losses: Losses) -> float:
    """exp of the loss a token: the sum of all losses over the number of all tokens. NaN where there is no token."""
    return _ratio(losses.nats, losses.n_tokens, math.exp)


def bits_per_byte(losses: Losses) -> float:
    """Bits for a byte of the text, which models with other tokens have in common. NaN where there is no byte."""
    return _ratio(losses.nats, losses.n_bytes, lambda nats: nats / math.log(2))


def _ratio(nats: NDArray[np.float64], counts: NDArray[np.int64], of: Callable[[float], float]) -> float:
    return of(float(nats.sum() / counts.sum())) if counts.sum() else math.nan


def paper_losses(
    model: LanguageModel, texts: Sequence[str], *, token_budget: int | None = None, progress: Progress | None = None
) -> Losses:
    """The losses of the texts, whole.

    `token_budget` is the tokens of a batch, padding counted; halved, and started again, where memory runs out. The
    softmax is computed in float32. Raises EncoderError for a loss that is no number, or whose exp is none, and for a
    text that does not fit.
    """
    rows, n_bytes, first_bytes, n_unknown = tokenised(model, texts)
    _check_embedded(model, rows)
    pieces = to_pieces(rows, model)
    budget = token_budget or TOKEN_BUDGETS[model.device.type]
    while True:
        try:
            nats, first = _run(model, pieces, len(texts), budget, progress)
            break
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
        budget = _halved(pieces.inputs, budget, model)
    has_bos = model.bos_id is not None
    n_first = np.array([len(row) > 0 for row in rows], np.int64)
    n_tokens = np.array([len(row) for row in rows], np.int64) - (0 if has_bos else n_first)
    if wrong := np.flatnonzero(~(nats <= MOST_NATS * n_tokens)).tolist():  # NaN too
        raise EncoderError(
            f"expected losses that are numbers, found {nats[wrong[0]]:.6g} by {model.name} for the text at position "
            f"{wrong[0]} ({model.dtype}): try another --dtype, or its weights are damaged"
        )
    return Losses(
        nats=nats,
        n_tokens=n_tokens,
        n_bytes=n_bytes - (0 if has_bos else first_bytes),
        first_nats=first,
        first_tokens=n_first * has_bos,
        first_bytes=first_bytes * has_bos,
        n_windows=np.bincount(pieces.texts, minlength=len(texts)),
        n_unknown=n_unknown,
    )


@torch.no_grad()  # not inference_mode: a model in training keeps what it computes of positions
def _run(
    model: LanguageModel, pieces: Pieces, n: int, budget: int, progress: Progress | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) float64 each: the nats of each text, and of its first token where that is predicted."""
    nats, first = np.zeros(n), np.zeros(n)
    head = _head(model.model, model.device)
    if head is None:
        budget = max(1, min(budget, WHOLE_NUMBERS // _n_vocabulary(model)))
    lengths = pieces.inputs.lengths
    done, total = 0, int(lengths.sum())
    for batch in pieces.inputs.batches(budget):
        losses = _batch_losses(model, pieces, batch, head)
        for row, piece in enumerate(batch):
            skip, text = int(pieces.skip[piece]), pieces.texts[piece]
            nats[text] += losses[row, skip : lengths[piece]].sum()
            if model.bos_id is not None and skip == 0:  # a later window has tokens that were scored before
                first[text] = losses[row, 0]
        done += int(lengths[batch].sum())
        if progress is not None:
            progress(done, total)
    return nats, first


def _batch_losses(model: LanguageModel, pieces: Pieces, batch: Counts, head: Any) -> NDArray[np.float64]:
    """(k, longest) float64: the loss of each target in nats, 0 for padding."""
    ids = torch.from_numpy(pieces.inputs.padded(batch, model.pad_id)).to(model.device)
    targets = torch.from_numpy(pieces.targets.padded(batch, 0)).to(model.device)
    lengths = torch.from_numpy(pieces.inputs.lengths[batch]).to(model.device)
    mask = mask_from_lengths(lengths, ids.shape[1])
    passed = {"input_ids": ids, "attention_mask": mask.to(torch.int64), "use_cache": False}
    if head is None:
        states = model.model(**passed).logits[mask]
    else:
        states = model.model.base_model(**passed).last_hidden_state[mask]
    wanted = targets[mask]
    step = max(1, CHUNK_NUMBERS // _n_vocabulary(model))
    parts = []
    for start in range(0, len(wanted), step):
        chunk = states[start : start + step]
        logits = (chunk if head is None else head(chunk)).float()
        parts.append(torch.nn.functional.cross_entropy(logits, wanted[start : start + step], reduction="none"))
    losses = np.zeros(tuple(ids.shape))
    losses[mask.cpu().numpy()] = torch.cat(parts).double().cpu().numpy()
    return losses


def _head(module: Any, device: torch.device) -> Any:
    """What makes logits of final hidden states, so that they need not all be there at once; None where the model does
    more than that with them (a scale, a cap): found out on a few tokens, since no attribute tells."""
    head = module.get_output_embeddings()
    if head is None or module.base_model is module:
        return None
    ids = torch.arange(4, device=device)[None]
    whole = module(input_ids=ids, use_cache=False).logits
    hidden = getattr(module.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
    return head if hidden is not None and torch.equal(head(hidden), whole) else None


def _check_embedded(model: LanguageModel, rows: Sequence[Sequence[int]]) -> None:
    """A text may hold the name of a token that was added to the tokenizer alone."""
    highest = max((token for row in rows for token in row), default=0)
    if highest >= _n_vocabulary(model):
        raise EncoderError(
            f"expected tokens that {model.name} has embeddings of, {_n_vocabulary(model):,}, found number {highest:,} "
            f"({model.tokenizer.convert_ids_to_tokens(highest)!r}): take the model's own tokenizer"
        )


def _n_vocabulary(model: LanguageModel) -> int:
    return int(model.model.get_input_embeddings().weight.shape[0])


def _halved(rows: TokenRows, budget: int, model: LanguageModel) -> int:
    most = max(n_padded_tokens(rows.lengths, batch) for batch in rows.batches(budget))
    longest = int(rows.lengths.max())
    if most <= longest:
        raise EncoderError(f"out of memory on {model.device}: one text of {longest} tokens does not fit into it")
    budget = max(1, min(budget, most) // 2)
    log.warning("out of memory on %s: starting again with batches of %d tokens", model.device, budget)
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    return budget
