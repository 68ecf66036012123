"""How many tokens a service will count in a text, and cutting a text at its limit.

By tiktoken where the file of the model's encoding is on this machine: it is never downloaded. Elsewhere from the number
of bytes, which is an estimate, and is called one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BYTES_PER_TOKEN = 4.5
"""Of UTF-8. Of 10,000 astronomy abstracts, as they are sent, cl100k_base makes 3,032,498 tokens, and this 4.8 % more;
of the 120 of the bundled sample this makes 8.7 % fewer."""
FEWEST_BYTES_PER_TOKEN = 2
"""What has to fit is told from this: the least of those abstracts has 2.7, by minilm's tokenizer 2.5."""

ENCODINGS = {
    "cl100k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    )
}
"""Encoding -> where tiktoken has its file from, and the file's SHA-256 (tiktoken_ext/openai_public.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`texts` cut at the limit; `n_tokens` (n,) int64 of each before it was cut; `at_most` (n,) int64, what has
    to be reckoned with after; `truncated` (n,) bool."""

    texts: list[str]
    n_tokens: NDArray[np.int64]
    at_most: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class Tokens(Protocol):
    """Counts tokens."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def exact(self) -> bool:
        """Whether it counts as the service does."""

    def measure(self, texts: Sequence[str], limit: int) -> Measured:
        """Count, and cut what is longer than `limit` tokens."""


class Estimated:
    """Tells tokens from bytes."""

    name = "estimated"
    exact = False

    def measure(self, texts: Sequence[str], limit: int) -> Measured:
        """A text is cut where it might be longer than `limit`, at a blank or amid a word."""
        encoded = [text.encode() for text in texts]
        n_bytes = np.array([len(data) for data in encoded], dtype=np.int64)
        most = limit * FEWEST_BYTES_PER_TOKEN
        truncated = n_bytes > most
        return Measured(
            # A character that the cut went through is left out.
            texts=[data[:most].decode(errors="ignore") for data in encoded],
            n_tokens=np.ceil(n_bytes / BYTES_PER_TOKEN).astype(np.int64),
            at_most=-(-np.minimum(n_bytes, most) // FEWEST_BYTES_PER_TOKEN),
            truncated=truncated,
        )


class Tiktoken:
    """Counts as OpenAI does. Safe to use from several threads."""

    exact = True

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding
        self.name = f"tiktoken {encoding.name}"

    def measure(self, texts: Sequence[str], limit: int) -> Measured:
        """A text is cut after its first `limit` tokens."""
        rows = self._encoding.encode_ordinary_batch(list(texts))
        n_tokens = np.array([len(row) for row in rows], dtype=np.int64)
        truncated = n_tokens > limit
        return Measured(
            texts=[
                # The last token may end amid a character, which is left out.
                self._encoding.decode_bytes(row[:limit]).decode(errors="ignore") if cut else text
                for text, row, cut in zip(texts, rows, truncated, strict=True)
            ],
            n_tokens=n_tokens,
            at_most=np.minimum(n_tokens, limit),
            truncated=truncated,
        )


def tokens_of(model: str) -> Tokens:
    """tiktoken's count where it knows the model and its file is here, else the estimate."""
    if importlib.util.find_spec("tiktoken") is None:
        return Estimated()
    import tiktoken

    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:  # no model of OpenAI's
        return Estimated()
    return Tiktoken(tiktoken.get_encoding(name)) if _is_here(name) else Estimated()


def _is_here(encoding: str) -> bool:
    """Whether tiktoken finds the file in its cache. It would fetch one that is missing or damaged."""
    url, sha256 = ENCODINGS.get(encoding, ("", ""))
    default = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    path = Path(folder) / hashlib.sha1(url.encode()).hexdigest()  # what tiktoken calls it
    try:
        return bool(folder and url) and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
