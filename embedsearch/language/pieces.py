"""From texts to what is passed through a language model: tokens, windows of them, and what each is to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders.tokens import TokenRows

if TYPE_CHECKING:
    from embedsearch.language.language_model import LanguageModel

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """What is passed through the model: `inputs` of m pieces, the `targets` that follow each of their tokens, and
    `texts` and `skip` (m,): whose piece it is, and how many targets at its start were scored before."""

    inputs: TokenRows
    targets: TokenRows
    texts: Counts
    skip: Counts


def tokenised(model: LanguageModel, texts: Sequence[str]) -> tuple[list[list[int]], Counts, Counts, Counts]:
    """The tokens of each text without special ones; its bytes, those of its first token, and its unknown tokens."""
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]  # no tokenizer takes lone surrogates
    n_bytes = np.array([len(text.encode()) for text in clean], np.int64)
    if not clean:
        return [], n_bytes, n_bytes, n_bytes
    tokenizer = model.tokenizer
    encoded = tokenizer(
        clean, add_special_tokens=False, truncation=False, padding=False, verbose=False,
        return_attention_mask=False, return_offsets_mapping=tokenizer.is_fast,
    )  # fmt: skip
    rows = [list(row) for row in encoded["input_ids"]]
    first = [_first_bytes(tokenizer, encoded, i, clean[i], row) for i, row in enumerate(rows)]
    unknown = [0 if tokenizer.unk_token_id is None else row.count(tokenizer.unk_token_id) for row in rows]
    return rows, n_bytes, np.array(first, np.int64), np.array(unknown, np.int64)


def _first_bytes(tokenizer: Any, encoded: Any, i: int, text: str, row: list[int]) -> int:
    if not row:
        return 0
    if tokenizer.is_fast:
        return len(text[: encoded["offset_mapping"][i][0][1]].encode())
    return len(tokenizer.decode(row[:1]).encode())


def to_pieces(rows: Sequence[Sequence[int]], model: LanguageModel) -> Pieces:
    bos = [] if model.bos_id is None else [model.bos_id]
    room = model.max_tokens + 1 - len(bos)  # the last token of a piece is predicted, not read
    inputs, targets, texts, skip = [], [], [], []
    for i, row in enumerate(rows):
        scored = 0 if bos else 1
        for start in range(0, max(len(row), 1), max(1, room // 2)):
            sequence = [*bos, *row[start : start + room]]
            end = min(start + room, len(row))
            if len(sequence) > 1 and end > scored:
                inputs.append(sequence[:-1])
                targets.append(sequence[1:])
                texts.append(i)
                skip.append(scored - start - 1 + len(bos))
                scored = end
    return Pieces(_flat(inputs), _flat(targets), np.array(texts, np.int64), np.array(skip, np.int64))


def _flat(rows: Sequence[Sequence[int]]) -> TokenRows:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return TokenRows(np.array([token for row in rows for token in row], np.int32), offsets)
