"""The page's own files: read once, and named with a hash, so that a browser may keep them for good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file, and `href`, the address that changes when it does."""

    content: bytes
    media_type: str
    version: str
    href: str


@cache
def files() -> dict[str, File]:
    """All files of the page by name."""
    found = {}
    for name, media_type in TYPES.items():
        content = (FOLDER / name).read_bytes()
        version = hashlib.sha256(content).hexdigest()[:12]
        found[name] = File(content=content, media_type=media_type, version=version, href=f"/static/{name}?v={version}")
    return found
