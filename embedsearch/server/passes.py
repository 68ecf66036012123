"""One pass of the encoder, in which each text fares for itself."""

from __future__ import annotations

from typing import NamedTuple

from embedsearch.encoders import Encoder, Role
from embedsearch.errors import BadVector
from embedsearch.scores import Float32
from embedsearch.server import metrics


class Embedded(NamedTuple):
    """What the encoder says of one text: `vector` (dim,) float32 of unit length, before a store's transform."""

    vector: Float32
    n_tokens: int
    is_truncated: bool


def encode_each(encoder: Encoder, texts: list[str], role: Role) -> list[Embedded | BadVector]:
    """What comes of each text. One that has no vector fails alone: the pass is run again without it."""
    results: list[Embedded | BadVector | None] = [None] * len(texts)
    left = list(range(len(texts)))
    while left:
        metrics.pass_done(len(left))
        try:
            made = encoder.encode_counted([texts[i] for i in left], role=role)
        except BadVector as error:
            results[left.pop(error.position)] = error
            continue
        for i, one in zip(left, zip(made.vectors, made.n_tokens, made.truncated, strict=True), strict=True):
            results[i] = Embedded(one[0].copy(), int(one[1]), bool(one[2]))  # a copy: the cache keeps no whole batch
        break
    return [result for result in results if result is not None]
