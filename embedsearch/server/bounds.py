"""The configured bounds: checked when a request comes, shown in the document that describes the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedsearch.errors import OverLimit
from embedsearch.server.options import Limits

HITS_PER_K = 10
"""A request may ask for so many times the greatest k in all: its texts times its k."""

_KEYWORD = {"integer": "maximum", "string": "maxLength", "array": "maxItems"}


def check_count(name: str, value: int, limit: int) -> None:
    """Raise OverLimit for a number above its limit."""
    if value > limit:
        raise OverLimit(f"expected {name} of at most {limit:,}, found {_number(value)}")


def check_texts(texts: Sequence[str], limits: Limits) -> None:
    """Raise OverLimit for too many texts, or one that is too long."""
    if len(texts) > limits.n_texts:
        raise OverLimit(f"expected at most {limits.n_texts:,} texts in a request, found {len(texts):,}")
    for number, text in enumerate(texts, 1):
        if len(text) > limits.text:
            which = f", the {number}. of {len(texts):,}" if len(texts) > 1 else ""
            raise OverLimit(f"expected a text of at most {limits.text:,} characters, found {len(text):,}{which}")


def check_hits(n_texts: int, k: int, limits: Limits) -> None:
    """Raise OverLimit for more hits in one answer than are worth the memory."""
    most = limits.k * HITS_PER_K
    if n_texts * k > most:
        raise OverLimit(
            f"expected at most {most:,} papers in all, found {n_texts:,} texts with {k:,} papers each: ask for fewer at"
            " once"
        )


def show(document: Any, limits: Limits) -> None:
    """Put the value of each bound in the place of its mark, in the whole of a JSON schema."""
    if isinstance(document, dict):
        mark = document.pop("x-limit", None)
        if isinstance(mark, str):
            most = document[_KEYWORD[document["type"]]] = getattr(limits, mark)
            if isinstance(default := document.get("default"), int):
                document["default"] = min(default, most)
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        show(part, limits)


def _number(value: int) -> str:
    return f"{value:,}" if value < 10**18 else f"a number of {len(str(value)[:4300])} digits"
