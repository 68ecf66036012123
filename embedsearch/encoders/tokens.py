"""From texts to token ids, cut at the limit and counted before; and padded batches of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedsearch.encoders.batching import batches
from embedsearch.errors import OptionError


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The token ids of n texts, cut: text i has `ids[offsets[i] : offsets[i + 1]]`, special tokens among them.

    `ids` is (total,) int32, `offsets` (n + 1,) int64.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) int64."""
        return np.diff(self.offsets)

    def batches(self, budget: int, *, enough: int | None = None) -> list[NDArray[np.int64]]:
        """As `batching.batches` of the lengths."""
        return batches(self.lengths, budget, enough=enough)

    def padded(self, rows: NDArray[np.int64], pad_id: int) -> NDArray[np.int64]:
        """The ids of these texts, (k, longest) int64, with padding on the right."""
        lengths = self.lengths[rows]
        result = np.full((len(rows), int(lengths.max())), pad_id, dtype=np.int64)
        for line, row, length in zip(result, rows, lengths, strict=True):
            line[:length] = self.ids[self.offsets[row] : self.offsets[row] + length]
        return result


class Tokenizer:
    """A tokenizer of transformers, or one like it, with a limit. Safe to use from several threads, which take turns."""

    def __init__(self, tokenizer: Any, *, max_tokens: int, lower_case: bool = False) -> None:
        # The library's threads cannot be used in a forked process, of which it warns. Ours are spawned.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        n_special = tokenizer.num_special_tokens_to_add()
        if max_tokens <= n_special:
            raise OptionError(f"max_tokens must leave room beside the {n_special} special tokens, was {max_tokens}")
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._lower_case = lower_case
        self._lock = threading.Lock()
        # By behaviour: attributes such as add_bos_token say False where a [BOS] is added, and the reverse.
        self.has_bos = tokenizer.bos_token_id is not None and self._all_ids(["a"])[0][:1] == [tokenizer.bos_token_id]
        # Any token does: what is padding follows from the lengths, and is masked.
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)
        # Of no concern to us, who pad on the right; `encode_padded` does as others do.
        self.pads_left = getattr(tokenizer, "padding_side", "right") == "left"

    def __call__(self, texts: Sequence[str]) -> tuple[TokenRows, NDArray[np.int64]]:
        """The tokens of `texts` cut at the limit, and how many each had before, (n,) int64.

        The special tokens that the tokenizer adds are kept when a text is cut.
        """
        clean = [_encodable(text.lower() if self._lower_case else text) for text in texts]
        with self._lock:
            ids = self._all_ids(clean)
            n_tokens = np.array([len(row) for row in ids], dtype=np.int64)
            too_long = np.flatnonzero(n_tokens > self._max_tokens)
            if len(too_long):
                cut = self._tokenizer(
                    [clean[i] for i in too_long], truncation=True, max_length=self._max_tokens, padding=False
                )["input_ids"]
                for i, row in zip(too_long, cut, strict=True):
                    ids[i] = row
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in ids], out=offsets[1:])
        flat = np.fromiter((token for row in ids for token in row), dtype=np.int32, count=int(offsets[-1]))
        return TokenRows(flat, offsets), n_tokens

    def _all_ids(self, texts: list[str]) -> list[list[int]]:
        """Whole texts with special tokens."""
        if not texts:
            return []
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:  # a tokenizer in Python
            rows = self._tokenizer(texts, truncation=False, padding=False, verbose=False)["input_ids"]
            return [list(row) for row in rows]
        # The call above does this too, and takes twice as long by making masks and offsets that nobody reads.
        backend.no_truncation()
        backend.no_padding()
        return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=True)]


def _encodable(text: str) -> str:
    """The text with each lone surrogate, which no tokenizer takes, as a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
