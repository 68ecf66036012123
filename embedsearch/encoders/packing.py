"""Texts end to end instead of padded: one row of tokens a batch, attention within each text, pooling beside the model.

What a text costs is its own tokens. Attention is a function that transformers calls by name, in two kinds: VARLEN, the
kernel for texts of many lengths that torch has for CUDA, and BY_LENGTH, ordinary attention over texts of equal length,
which runs everywhere. Positions and the tokens to pool are worked out on the host, so that nothing waits for a device.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import varlen
from torch.nn.functional import embedding_bag, scaled_dot_product_attention
from transformers import AttentionInterface

from embedsearch.encoders.protocol import Pooling
from embedsearch.encoders.tokens import TokenRows

VARLEN = "embedsearch_varlen"
BY_LENGTH = "embedsearch_by_length"
"""Not named for flash attention: transformers would look for a kernel of that name on the hub."""

ENCODERS = ("bert", "roberta", "xlm-roberta")
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures whose packed pass was compared with one text at a time. Others are padded: some keep the arguments of
attention to themselves, or bias it by position."""

SHIFTED = ("roberta", "xlm-roberta")
"""Architectures whose first position comes after their pad id."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a batch, or more: what is beyond the texts belongs to none, and nothing reads what becomes of it."""

    n_tokens: int
    n_texts: int
    longest: int
    """Tokens of the longest text."""

    @classmethod
    def of(cls, lengths: Ints) -> Shape:
        """As small as these texts allow."""
        return cls(int(lengths.sum()), len(lengths), int(lengths.max()))


@dataclass(frozen=True, slots=True)
class Segments:
    """Where each text of a packed row begins, as attention wants it."""

    starts: torch.Tensor
    """(n + 1,) int32 on the device: the first token of each text, and the end of the last."""
    longest: int
    lengths: Sequence[int]
    """Of the texts, on the host; VARLEN reads only `starts`."""


class PackedModel:
    """A model of transformers that runs packed rows: `takes` says which. It shares the weights of `module`.

    `pooling` and `has_bos` are as in `pooling.pool`, and so are the vectors, to rounding.
    """

    def __init__(self, module: nn.Module, *, attention: str, pooling: Pooling, has_bos: bool) -> None:
        # With a configuration of its own: `module` still takes padded batches.
        shared = {id(weights): weights for weights in (*module.parameters(), *module.buffers())}
        own: Any = copy.deepcopy(module, shared)
        own.set_attn_implementation(attention)
        self._module, config = own, own.config
        self._first = config.pad_token_id + 1 if config.model_type in SHIFTED else 0
        self._pooling, self._has_bos = pooling, has_bos
        self.attention = attention

    @staticmethod
    def takes(module: nn.Module) -> bool:
        """Whether packed rows give what the module gives for each text alone."""
        config: Any = getattr(module, "config", None)
        if not type(module).__module__.startswith("transformers.models.") or module.training:
            return False
        if config.model_type in ENCODERS:
            absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
            return absolute and not config.is_decoder and not config.add_cross_attention
        return config.model_type in DECODERS

    def pack(self, rows: TokenRows, batch: Ints, shape: Shape) -> Ints:
        """All that a pass needs of these texts as one array, so that one copy takes it to the device.

        In it: ids and positions (n_tokens each), the tokens to pool, the starts of the texts and those of their tokens
        to pool (n_texts + 1 each).
        """
        lengths = rows.lengths[batch]
        firsts, counts = self._pooled_tokens(lengths)
        ends = np.cumsum(lengths)
        ids = np.concatenate([rows.ids[rows.offsets[row] : rows.offsets[row + 1]] for row in batch])
        starts, bags = _starts(lengths, shape.n_texts + 1), _starts(counts, shape.n_texts + 1)
        flat = np.zeros(sum(self._sizes(shape)), np.int64)
        places = np.split(flat, np.cumsum(self._sizes(shape))[:-1])
        places[0][: len(ids)] = ids
        places[1][: len(ids)] = _ranges(np.full(len(batch), self._first), lengths)
        kept = _ranges(ends - lengths + firsts, counts)
        places[2][: len(kept)] = kept
        places[3][:], places[4][:] = starts, bags
        return flat

    def __call__(self, packed: torch.Tensor, shape: Shape, lengths: Sequence[int] = ()) -> torch.Tensor:
        """(n_texts, h) float32 on the device of `packed`, which `pack` gave; rows beyond the texts mean nothing.

        `lengths`, of the texts in their order, is for BY_LENGTH.
        """
        ids, positions, kept, starts, bags = torch.split(packed, self._sizes(shape))
        segments = Segments(starts.to(torch.int32), shape.longest, lengths)
        # A mask, even of ones, or a cache would make one text of them all.
        output = self._module(input_ids=ids[None], position_ids=positions[None], use_cache=False, segments=segments)
        hidden: torch.Tensor = output.last_hidden_state[0]
        if self._one_token:
            return hidden[kept].float()
        # In a fixed order, where adding by index would not be; the last bag takes what belongs to no text.
        return embedding_bag(kept, hidden.float(), bags, mode="mean")[:-1]

    @property
    def _one_token(self) -> bool:
        return self._pooling in (Pooling.CLS, Pooling.LAST_TOKEN)

    def _sizes(self, shape: Shape) -> list[int]:
        n_kept = shape.n_texts if self._one_token else shape.n_tokens
        return [shape.n_tokens, shape.n_tokens, n_kept, shape.n_texts + 1, shape.n_texts + 1]

    def _pooled_tokens(self, lengths: Ints) -> tuple[Ints, Ints]:
        """The first token of each text that is pooled, and how many, as `pooling.pool` has it."""
        if self._one_token:
            firsts = lengths - 1 if self._pooling is Pooling.LAST_TOKEN else np.zeros_like(lengths)
            return firsts, np.ones_like(lengths)
        skipped = ((lengths > 1) & (self._pooling is Pooling.MEAN_WITHOUT_BOS and self._has_bos)).astype(np.int64)
        return skipped, lengths - skipped


def _starts(lengths: Ints, n: int) -> Ints:
    """(n,) where pieces of these lengths start; beyond them, where the last ends."""
    ends = np.cumsum(lengths)
    result: Ints = np.full(n, ends[-1])
    result[: len(lengths)] = ends - lengths
    return result


def _ranges(firsts: Ints, counts: Ints) -> Ints:
    """firsts[0], firsts[0] + 1, ... (counts[0] of them), firsts[1], ..."""
    result: Ints = np.arange(int(counts.sum())) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)
    return result


def _varlen(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **options: Any) -> Any:
    """Attention as transformers calls it: (1, heads, tokens, width) to (1, tokens, heads, width)."""
    segments: Segments = options["segments"]
    # The key's heads may be fewer than the query's.
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    window = (-1, -1)
    if _causal(module):
        window = ((options.get("sliding_window") or 0) - 1, 0)
    starts, longest = segments.starts, segments.longest
    out = varlen.varlen_attn(
        q, k, v, starts, starts, longest, longest, scale=options["scaling"], window_size=window, enable_gqa=True
    )
    assert isinstance(out, torch.Tensor)  # and no auxiliary results, which were not asked for
    return out[None], None


def _by_length(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **options: Any
) -> Any:
    """As `_varlen`."""
    segments: Segments = options["segments"]
    n_heads, n_tokens, width = query.shape[1:]
    groups = n_heads // key.shape[1]
    key, value = (part.repeat_interleave(groups, dim=1) if groups > 1 else part for part in (key, value))
    out = query.new_zeros(1, n_tokens, n_heads, width)
    start = 0
    for length, same in itertools.groupby(segments.lengths):
        stop = start + length * len(list(same))
        q, k, v = (
            part[0, :, start:stop].reshape(n_heads, -1, length, width).transpose(0, 1) for part in (query, key, value)
        )
        mask = _window(length, options.get("sliding_window"), q.device) if _causal(module) else None
        causal = _causal(module) and mask is None
        attended = scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=options["scaling"])
        out[0, start:stop] = attended.transpose(1, 2).flatten(0, 1)
        start = stop
    return out, None


def _causal(module: Any) -> bool:
    return module.is_causal and getattr(module.config, "is_causal", True)


def _window(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """(length, length) bool: the last `window` tokens up to each, where texts are longer than that."""
    if window is None or length <= window:
        return None
    before = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return before.triu(1 - window)


AttentionInterface.register(VARLEN, _varlen)
AttentionInterface.register(BY_LENGTH, _by_length)
