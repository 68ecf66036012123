"""Text without what cannot be seen."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = re.compile(
    "[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Marks that cannot be seen: they turn the direction of text, or hide in it."""


def visible(text: str) -> str:
    """`text` without control characters, and without marks that turn its direction."""
    return HIDDEN.sub("", "".join(c if c.isprintable() else " " for c in text))
