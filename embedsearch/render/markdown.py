"""Text in a page of Markdown."""

from __future__ import annotations

import re
from html import escape


def marked(text: str) -> str:
    """`text` with what Markdown or HTML would take for its own escaped."""
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", escape(text, quote=False))
