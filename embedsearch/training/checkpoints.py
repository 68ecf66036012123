"""Which checkpoints are whole: those that name each of their files with its hash, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedsearch.store.atomic import file_hash, sync, write_bytes

WHOLE_NAME = "whole.json"
PICKLED_NAME = "training_args.bin"
"""Pickled by transformers beside each checkpoint, and never read: it is taken away again."""


def seal(folder: Path, note: Mapping[str, Any]) -> None:
    """Sync a checkpoint's files and name them with their hashes: from now on it can be gone on from."""
    (folder / PICKLED_NAME).unlink(missing_ok=True)
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != WHOLE_NAME:
            sync(path)
            files[str(path.relative_to(folder))] = file_hash(path)
    write_bytes(folder / WHOLE_NAME, json.dumps({"files": files, "note": dict(note)}).encode())


def sealed_note(folder: Path) -> Mapping[str, Any] | None:
    """What was noted of a whole checkpoint; None if it was cut off, or is not as it was sealed."""
    try:
        whole = json.loads((folder / WHOLE_NAME).read_bytes())
        if all(file_hash(folder / name) == digest for name, digest in whole["files"].items()):
            return dict(whole["note"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # cut off while it was written, or not ours
    return None
