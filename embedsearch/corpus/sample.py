"""The bundled sample: abstracts invented for this project, and queries with the papers that answer them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class SampleQuery:
    """A question in a user's words, and the ids of the sample's papers that answer it."""

    query: str
    relevant: tuple[str, ...]


def sample_path() -> Path:
    """Where the sample's papers lie: JSON Lines in the field names of arXiv's snapshot, for `open_corpus`."""
    # Installed packages are folders here: a package in a zip file could not hold the model weights, either.
    return Path(str(files("embedsearch.corpus").joinpath("sample.jsonl")))


def sample_queries() -> tuple[SampleQuery, ...]:
    """The sample's queries, in the order of their file."""
    text = files("embedsearch.corpus").joinpath("sample_queries.jsonl").read_bytes()
    return tuple(msgspec.json.decode(line, type=SampleQuery) for line in text.splitlines() if line.strip())
