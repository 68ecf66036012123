"""Names of what is served, never where something lies on the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def model_name(model: Mapping[str, Any]) -> str:
    """The name of a store's model; of a folder or a file the last part."""
    return public_name(str(model["name"]))


def public_name(text: str) -> str:
    """`text`, or the last part of it if it is a path; "org/name" of a hub is none."""
    is_path = text.startswith(("/", "./", "../", "~")) or text.count("/") > 1 or Path(text).suffix in _SUFFIXES
    return Path(text).name if is_path and Path(text).name else text


_SUFFIXES = (".gguf", ".jsonl", ".json", ".csv", ".parquet", ".gz", ".zst", ".npz", ".npy")
