"""BERT's forward pass on a CPU, without padding.

The texts of a batch stand end to end, so the matrix products see real tokens only, and attention, which runs over texts
of equal length, needs no mask. Query, key and value are one product, and oneDNN gets the weights in its own layout once
instead of at each call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from transformers import BertModel

TOKENS_AT_ONCE = 1024
"""Of texts of equal length that share a product of attention: its scores should not leave the caches."""

TYPICAL_TOKENS = 4096
"""The number of rows that oneDNN lays the weights out for. Others work as well."""


class BertOnCpu:
    """A BertModel's hidden states from its own weights: `takes` says of which modules.

    A text's pooled vector equals the module's by cosine to 1e-6 in float32; in bfloat16 both round as much.
    """

    attention = "two products over texts of equal length"
    """For `made_with`."""

    def __init__(self, module: nn.Module) -> None:
        source: Any = module
        self._embeddings = source.embeddings
        self._layers = [_Layer.of(layer) for layer in source.encoder.layer]

    @staticmethod
    def takes(module: nn.Module) -> bool:
        """Whether this pass computes what the module does, on a CPU whose oneDNN multiplies its dtype."""
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if type(module) is not BertModel or not available:
            return False
        config = module.config
        plain = (
            config.hidden_act == "gelu"
            and getattr(config, "position_embedding_type", "absolute") == "absolute"
            and not config.is_decoder
            and not config.add_cross_attention
            and not module.training
        )
        linears = {type(part) for part in module.encoder.modules() if isinstance(part, nn.Linear)} == {nn.Linear}
        kinds = {(weight.device.type, weight.dtype) for weight in module.parameters()}
        bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return (
            plain and linears and (kinds == {("cpu", torch.float32)} or (bf16 and kinds == {("cpu", torch.bfloat16)}))
        )

    def __call__(self, ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """(b, longest, h) hidden states in the module's dtype, zero in the padding.

        `ids` (b, longest) int64 is padded on the right, `lengths` are the tokens of each text. Texts of equal length
        should be neighbours.
        """
        positions = torch.cat([torch.arange(length) for length in lengths])
        packed = torch.cat([row[:length] for row, length in zip(ids, lengths, strict=True)])
        embeddings = self._embeddings
        hidden = embeddings.word_embeddings(packed) + embeddings.token_type_embeddings.weight[0]
        hidden = embeddings.LayerNorm(hidden.add_(embeddings.position_embeddings(positions)))
        groups = list(_groups(lengths))
        for layer in self._layers:
            hidden = layer(hidden, groups)
        return nn.utils.rnn.pad_sequence(list(hidden.split(list(lengths))), batch_first=True)


def _groups(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(texts, tokens of each) of neighbours with equal lengths, at most TOKENS_AT_ONCE together unless it is one."""
    for length, same in itertools.groupby(lengths):
        left = len(list(same))
        most = max(1, TOKENS_AT_ONCE // length)
        while left:
            yield min(left, most), length
            left -= most if left > most else left


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: torch.Tensor
    """In oneDNN's layout, which only its own operators read."""
    bias: torch.Tensor

    @classmethod
    def of(cls, *parts: nn.Linear) -> Self:
        weight = torch.cat([part.weight.detach() for part in parts])
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_TOKENS)
        return cls(packed, torch.cat([part.bias.detach() for part in parts]))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return result


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: _Linear
    attended: _Linear
    wider: _Linear
    narrower: _Linear
    norm: nn.LayerNorm
    last_norm: nn.LayerNorm
    n_heads: int

    @classmethod
    def of(cls, layer: Any) -> Self:
        attention = layer.attention.self
        return cls(
            qkv=_Linear.of(attention.query, attention.key, attention.value),
            attended=_Linear.of(layer.attention.output.dense),
            wider=_Linear.of(layer.intermediate.dense),
            narrower=_Linear.of(layer.output.dense),
            norm=layer.attention.output.LayerNorm,
            last_norm=layer.output.LayerNorm,
            n_heads=attention.num_attention_heads,
        )

    def __call__(self, hidden: torch.Tensor, groups: Sequence[tuple[int, int]]) -> torch.Tensor:
        """(tokens, h) to (tokens, h)."""
        attended = _attention(self.qkv(hidden), groups, n_heads=self.n_heads)
        hidden = self.norm(self.attended(attended).add_(hidden))
        wide: torch.Tensor = torch.ops.aten.gelu_(self.wider(hidden))
        result: torch.Tensor = self.last_norm(self.narrower(wide).add_(hidden))
        return result


def _attention(qkv: torch.Tensor, groups: Sequence[tuple[int, int]], *, n_heads: int) -> torch.Tensor:
    """(tokens, h) of (tokens, 3h)."""
    width = qkv.shape[1] // 3
    result = qkv.new_empty(len(qkv), width)
    start = 0
    for n_texts, length in groups:
        stop = start + n_texts * length
        split = qkv[start:stop].view(n_texts, length, 3, n_heads, width // n_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        out = result[start:stop].view(n_texts, length, n_heads, width // n_heads)
        out.copy_(_attend(q, k, v).transpose(1, 2))
        start = stop
    return result


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """All (texts, heads, length, width of a head). In bfloat16 faster than torch's own at heads this narrow."""
    n_texts, n_heads, length, width = q.shape
    q, k, v = (part.reshape(-1, length, width) for part in (q, k, v))
    scores = torch.baddbmm(q.new_empty(1), q, k.transpose(1, 2), beta=0, alpha=width**-0.5)
    torch.softmax(scores, -1, out=scores)
    return torch.bmm(scores, v).view(n_texts, n_heads, length, width)
