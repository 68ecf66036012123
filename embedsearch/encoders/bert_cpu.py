"""BERT's forward pass on a CPU, without padding.

The texts of a batch stand end to end, so the matrix products see real tokens only, and attention, which runs over texts
of equal length, needs no mask. Query, key and value are one product, and oneDNN gets the weights in its own layout once
instead of at each call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

TOKENS_AT_ONCE = 1024
"""Of texts of equal length that share a product of attention: its scores should not leave the caches."""

TYPICAL_TOKENS = 4096
"""The number of rows that oneDNN lays the weights out for. Others work as well."""


class BertOnCpu:
    """A BertModel's hidden states from its weights, by the names that they have in it; without its pooler.

    All are of one dtype that `multiplies` allows. The words' embeddings may be of a wider one: a query needs a few rows
    of a mapped file, and should not wait until all are converted. A text's pooled vector equals the module's by cosine
    to 1e-6 in float32; in bfloat16 both round as much.
    """

    attention = "two products over texts of equal length"
    """For `made_with`."""

    def __init__(self, weights: Mapping[str, torch.Tensor], *, n_heads: int, eps: float) -> None:
        self._words, self._positions, self._types = (
            weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
        )
        self._norm = _Norm.of(weights, "embeddings.LayerNorm", eps)
        count = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
        self._layers = [_Layer.of(weights, f"encoder.layer.{i}", n_heads, eps) for i in range(count)]

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The pass of a module of transformers that `takes` allows."""
        config: Any = module.config
        weights = {name: weight.detach() for name, weight in module.named_parameters()}
        return cls(weights, n_heads=config.num_attention_heads, eps=config.layer_norm_eps)

    @staticmethod
    def multiplies(dtype: torch.dtype) -> bool:
        """Whether this processor's oneDNN multiplies in it."""
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        bf16 = available and dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return available and (dtype == torch.float32 or bool(bf16))

    @classmethod
    def takes(cls, module: nn.Module) -> bool:
        """Whether this pass computes what the module does, on a CPU whose oneDNN multiplies its dtype."""
        # By name: to import the class takes longer than to read the weights without it.
        if (type(module).__module__, type(module).__qualname__) != (
            "transformers.models.bert.modeling_bert",
            "BertModel",
        ):
            return False
        config: Any = module.config
        plain = (
            config.hidden_act == "gelu"
            and getattr(config, "position_embedding_type", "absolute") == "absolute"
            and not config.is_decoder
            and not config.add_cross_attention
            and not module.training
        )
        encoder: Any = module.encoder
        linears = {type(part) for part in encoder.modules() if isinstance(part, nn.Linear)} == {nn.Linear}
        kinds = {(weight.device.type, weight.dtype) for weight in module.parameters()}
        return plain and linears and any(kinds == {("cpu", dtype)} and cls.multiplies(dtype) for _, dtype in kinds)

    def __call__(self, ids: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """(b, longest, h) hidden states in the module's dtype, zero in the padding.

        `ids` (b, longest) int64 is padded on the right, `lengths` are the tokens of each text. Texts of equal length
        should be neighbours.
        """
        positions = torch.cat([torch.arange(length) for length in lengths])
        packed = torch.cat([row[:length] for row, length in zip(ids, lengths, strict=True)])
        hidden = functional.embedding(packed, self._words).to(self._types.dtype) + self._types[0]
        hidden = self._norm(hidden.add_(functional.embedding(positions, self._positions)))
        groups = list(_groups(lengths))
        for layer in self._layers:
            hidden = layer(hidden, groups)
        return nn.utils.rnn.pad_sequence(list(torch.split(hidden, list(lengths))), batch_first=True)


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
    def of(cls, weights: Mapping[str, torch.Tensor], *names: str) -> Self:
        weight = torch.cat([weights[f"{name}.weight"] for name in names])
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_TOKENS)
        return cls(packed, torch.cat([weights[f"{name}.bias"] for name in names]))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return result


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], name: str, eps: float) -> Self:
        # Copies: these may stand in a mapped file, at any address.
        return cls(weights[f"{name}.weight"].clone(), weights[f"{name}.bias"].clone(), eps)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: _Linear
    attended: _Linear
    wider: _Linear
    narrower: _Linear
    norm: _Norm
    last_norm: _Norm
    n_heads: int

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], name: str, n_heads: int, eps: float) -> Self:
        queries, keys, values = (f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
        return cls(
            qkv=_Linear.of(weights, queries, keys, values),
            attended=_Linear.of(weights, f"{name}.attention.output.dense"),
            wider=_Linear.of(weights, f"{name}.intermediate.dense"),
            narrower=_Linear.of(weights, f"{name}.output.dense"),
            norm=_Norm.of(weights, f"{name}.attention.output.LayerNorm", eps),
            last_norm=_Norm.of(weights, f"{name}.output.LayerNorm", eps),
            n_heads=n_heads,
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
